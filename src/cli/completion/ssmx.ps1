# Completion of ssmx for PowerShell: ssmx completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName 'ssmx', 'ssmx.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    # Nothing of what was typed is evaluated: words that are more than text stay as they are.
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object {
            if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value }
            else { $_.Extent.Text }
        })
    $index = $words.Count
    if ($wordToComplete) { $words += $wordToComplete }
    & ssmx __complete powershell $index @words 2>$null | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
