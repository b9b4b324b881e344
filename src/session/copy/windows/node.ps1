# What runs on a node with Windows: PowerShell 5.1 as it comes with the system, and .NET Framework.
# Comments and indentation are taken away before it is sent. $mark is the mark of this copy's
# announcement, $hash the SHA-256, in base64, of the secret that whoever connects has to know.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
    Write-Host ('@' + $mark + ' limited;')
    exit
}
$utf8 = New-Object Text.UTF8Encoding -ArgumentList $false
$epoch = New-Object DateTime -ArgumentList 1970, 1, 1, 0, 0, 0, ([DateTimeKind]::Utc)

# Paths that are not absolute are in the user's directory.
$profile_path = [Environment]::GetFolderPath('UserProfile')
if ($profile_path) { [Environment]::CurrentDirectory = $profile_path }

# One connection, from this computer, of one who knows the secret, and soon.
$listener = New-Object Net.Sockets.TcpListener -ArgumentList ([Net.IPAddress]::Loopback), 0
$listener.Start()
Write-Host ('@' + $mark + ' port ' + $listener.LocalEndpoint.Port + ';')
$sha = New-Object Security.Cryptography.SHA256CryptoServiceProvider
$stream = $null
for ($turn = 0; ($turn -lt 16) -and ($null -eq $stream); $turn++) {
    $coming = $listener.BeginAcceptTcpClient($null, $null)
    if (-not $coming.AsyncWaitHandle.WaitOne(60000)) { exit }
    $client = $listener.EndAcceptTcpClient($coming)
    try {
        $client.NoDelay = $true
        $client.ReceiveTimeout = 10000
        $found = $client.GetStream()
        $reader = New-Object IO.BinaryReader -ArgumentList $found
        $told = [Convert]::ToBase64String($sha.ComputeHash($reader.ReadBytes(64)))
        if ($told -ceq $hash) {
            $client.ReceiveTimeout = 0
            $stream = $found
        } else {
            $client.Close()
        }
    } catch {
        $client.Close()
    }
}
$listener.Stop()
if ($null -eq $stream) { exit }
$out = New-Object IO.BufferedStream -ArgumentList $stream, 65536

# answer TEXT [BYTES COUNT]: the text with its length before it, and so many bytes behind it.
function answer($text, $data, $count) {
    $line = $utf8.GetBytes($text)
    $out.Write([BitConverter]::GetBytes([int]$line.Length), 0, 4)
    $out.Write($line, 0, $line.Length)
    if ($count) { $out.Write($data, 0, $count) }
    $out.Flush()
}

# why ERROR: what to say of it.
function why($failure) {
    $e = $failure.Exception
    while ($e.InnerException) { $e = $e.InnerException }
    if ($e -is [UnauthorizedAccessException]) { return 'Permission denied' }
    if ($e -is [Security.SecurityException]) { return 'Permission denied' }
    if ($e -is [IO.FileNotFoundException]) { return 'No such file or directory' }
    if ($e -is [IO.DirectoryNotFoundException]) { return 'No such file or directory' }
    if ($e -is [IO.DriveNotFoundException]) { return 'No such file or directory' }
    if ($e -is [IO.IOException]) {
        $code = $e.HResult -band 0xffff
        if (($code -eq 39) -or ($code -eq 112)) { return 'No space left on device' }
        if ($code -eq 1295) { return 'Disk quota exceeded' }
        if (($code -eq 32) -or ($code -eq 33)) { return 'Another program has it open' }
    }
    return $e.Message -replace '\s+', ' '
}

# text WORD, place WORD: what a word of a command stands for.
function text($word) { return $utf8.GetString([Convert]::FromBase64String($word)) }
function place($word) { return [IO.Path]::GetFullPath((text $word)) }

# item PATH: what is there.
function item($path) {
    $attributes = [int][IO.File]::GetAttributes($path)
    if ($attributes -band 16) { return New-Object IO.DirectoryInfo -ArgumentList $path }
    return New-Object IO.FileInfo -ArgumentList $path
}

# status ITEM FOLLOW: mode, size, time. A directory that leads elsewhere is none unless followed.
function status($item, $follow) {
    $attributes = [int]$item.Attributes
    $mode = '81a4'
    $size = 0
    if ($attributes -band 16) {
        $mode = '41ed'
        if (($attributes -band 1024) -and (-not $follow)) { $mode = '0' }
    } else {
        $size = $item.Length
        if ($attributes -band 1) { $mode = '8124' }
    }
    $time = [long][Math]::Floor(($item.LastWriteTimeUtc - $epoch).TotalSeconds)
    return "$mode $size $time"
}

# digest STREAM LENGTH: the SHA-256 of so many bytes.
function digest($source, [long]$left) {
    $hasher = New-Object Security.Cryptography.SHA256CryptoServiceProvider
    $buffer = New-Object byte[] ([int][Math]::Max(1, [Math]::Min($left, 1048576)))
    while ($left -gt 0) {
        $got = $source.Read($buffer, 0, [int][Math]::Min($left, [long]$buffer.Length))
        if ($got -eq 0) { break }
        [void]$hasher.TransformBlock($buffer, 0, $got, $buffer, 0)
        $left -= $got
    }
    [void]$hasher.TransformFinalBlock($buffer, 0, 0)
    return [BitConverter]::ToString($hasher.Hash).Replace('-', '').ToLowerInvariant()
}

# The file that is being written: open, its part, and its place.
$now = @{ file = $null; part = $null; place = $null }
function shut {
    if ($now.file) { try { $now.file.Close() } catch { } }
    $now.file = $null
}
function drop {
    shut
    if ($now.part) { try { [IO.File]::Delete($now.part) } catch { } }
    $now.part = $null
}

# grow PATH SIZE: what is there of a file to be written: the length and checksum of its part, and
# the checksum of a whole file of that size.
function grow($path, $size) {
    shut
    $now.part = $null
    $there = $null
    try { $there = [int][IO.File]::GetAttributes($path) } catch { }
    if ($null -ne $there) {
        if ($there -band 16) { throw 'Is a directory' }
        if ($there -band 1) { throw 'Permission denied' }
        # Who may not write a file shall not replace it either.
        [IO.File]::Open($path, 'Open', 'Write', 'ReadWrite, Delete').Close()
    }
    $name = [IO.Path]::GetFileName($path)
    if (-not $name) { throw 'Is a directory' }
    $short = $name.Substring(0, [Math]::Min($name.Length, 240)) + '.ssmx-part'
    $part = [IO.Path]::Combine([IO.Path]::GetDirectoryName($path), $short)
    $now.file = [IO.File]::Open($part, 'OpenOrCreate', 'ReadWrite', 'ReadWrite, Delete')
    $now.part = $part
    $now.place = $path
    $length = 0
    $sum = '-'
    $whole = '-'
    if ($size -eq '-') {
        $now.file.SetLength(0)
    } elseif ($now.file.Length -gt 0) {
        $length = $now.file.Length
        $sum = digest $now.file $length
    }
    if (($size -ne '-') -and ($null -ne $there)) {
        $old = [IO.File]::Open($path, 'Open', 'Read', 'ReadWrite, Delete')
        try {
            if ($old.Length -eq [long]$size) { $whole = digest $old $old.Length }
        } finally {
            $old.Close()
        }
    }
    [void]$now.file.Seek(0, 'End')
    return "ok $length $sum $whole"
}

# take COUNT: so many bytes of the connection go into the file. What comes behind a failure is
# thrown away.
function take([long]$left) {
    $said = 'skip'
    if ($now.file) { $said = 'ok' }
    while ($left -gt 0) {
        $body = $null
        try { $body = $reader.ReadBytes([int][Math]::Min($left, 262144)) } catch { }
        if (($null -eq $body) -or ($body.Length -eq 0)) {
            # The connection is gone. What is there is for the next copy to go on with.
            shut
            exit
        }
        if ($now.file) {
            try {
                $now.file.Write($body, 0, $body.Length)
            } catch {
                $said = 'err ' + (why $_)
                drop
            }
        }
        $left -= $body.Length
    }
    return $said
}

# give PATH READONLY TIME: what it is to be like.
function give($path, $readonly, $time) {
    $directory = [IO.Directory]::Exists($path)
    $attributes = [int][IO.File]::GetAttributes($path)
    if ((-not $directory) -and ($attributes -band 1)) {
        $attributes = $attributes -band (-bnot 1)
        [IO.File]::SetAttributes($path, [IO.FileAttributes]$attributes)
    }
    if ($time -ne '-') {
        $when = $epoch.AddSeconds([double]$time)
        if ($directory) {
            [IO.Directory]::SetLastWriteTimeUtc($path, $when)
        } else {
            [IO.File]::SetLastWriteTimeUtc($path, $when)
        }
    }
    if ((-not $directory) -and ($readonly -eq '1')) {
        [IO.File]::SetAttributes($path, [IO.FileAttributes]($attributes -bor 1))
    }
}

# finish SUM PRESERVE READONLY TIME: the file is whole, and takes its name.
function finish($sum, $preserve, $readonly, $time) {
    $now.file.Flush()
    [void]$now.file.Seek(0, 'Begin')
    $found = digest $now.file $now.file.Length
    $now.file.Close()
    $now.file = $null
    if ($found -cne $sum) {
        drop
        return 'sum'
    }
    if ([IO.File]::Exists($now.place)) {
        [IO.File]::Replace($now.part, $now.place, [NullString]::Value)
    } else {
        [IO.File]::Move($now.part, $now.place)
    }
    $now.part = $null
    if ($preserve -eq '1') { give $now.place $readonly $time }
    return 'ok'
}

# make PATH: a directory, in one that is there.
function make($path) {
    if ([IO.Directory]::Exists($path)) { return }
    if ([IO.File]::Exists($path)) { throw 'File exists' }
    $up = [IO.Path]::GetDirectoryName($path.TrimEnd('\'))
    if ($up -and (-not [IO.Directory]::Exists($up))) { throw 'No such file or directory' }
    [void][IO.Directory]::CreateDirectory($path)
}

# entries PATH: what is in a directory, a line each.
function entries($path) {
    $directory = New-Object IO.DirectoryInfo -ArgumentList $path
    $lines = New-Object Text.StringBuilder
    foreach ($item in $directory.GetFileSystemInfos()) {
        $name = [BitConverter]::ToString($utf8.GetBytes($item.Name)).Replace('-', '')
        $known = status $item $false
        [void]$lines.Append("$known x$name`n")
    }
    return $lines.ToString()
}

# Commands come with their length before them, words with a space between: VERB ID …
answer '0 ok'
try {
    while ($true) {
        $length = $reader.ReadInt32()
        $words = $utf8.GetString($reader.ReadBytes($length)).Split(' ')
        $verb = $words[0]
        $id = $words[1]
        try {
            if ($verb -eq 'look') {
                $known = status (item (place $words[2])) $true
                answer "$id ok $known"
            } elseif ($verb -eq 'begin') {
                $said = grow (place $words[2]) $words[3]
                answer "$id $said"
            } elseif ($verb -eq 'append') {
                $said = take $words[2]
                answer "$id $said"
            } elseif (($verb -eq 'restart') -or ($verb -eq 'finish')) {
                $said = 'ok'
                if (-not $now.file) {
                    $said = 'skip'
                } elseif ($verb -eq 'restart') {
                    $now.file.SetLength(0)
                } else {
                    $said = finish $words[2] $words[3] $words[4] $words[5]
                }
                answer "$id $said"
            } elseif ($verb -eq 'abandon') {
                drop
                answer "$id ok"
            } elseif ($verb -eq 'make') {
                make (place $words[2])
                answer "$id ok"
            } elseif ($verb -eq 'give') {
                give (place $words[2]) $words[3] $words[4]
                answer "$id ok"
            } elseif ($verb -eq 'read') {
                $source = [IO.File]::Open((place $words[2]), 'Open', 'Read', 'ReadWrite, Delete')
                try {
                    [void]$source.Seek([long]$words[3], 'Begin')
                    $block = New-Object byte[] ([int]$words[4])
                    $filled = 0
                    while ($filled -lt $block.Length) {
                        $got = $source.Read($block, $filled, $block.Length - $filled)
                        if ($got -eq 0) { break }
                        $filled += $got
                    }
                } finally {
                    $source.Close()
                }
                answer "$id data $filled" $block $filled
            } elseif ($verb -eq 'sum') {
                $source = [IO.File]::Open((place $words[2]), 'Open', 'Read', 'ReadWrite, Delete')
                try {
                    $most = $source.Length
                    if ($words[3] -ne '-') { $most = [long]$words[3] }
                    $sum = digest $source $most
                } finally {
                    $source.Close()
                }
                answer "$id ok $sum"
            } elseif ($verb -eq 'list') {
                $block = $utf8.GetBytes((entries (place $words[2])))
                $count = $block.Length
                answer "$id data $count" $block $count
            } elseif ($verb -eq 'no') {
                throw (text $words[2])
            } else {
                throw 'Unknown command'
            }
        } catch {
            $reason = why $_
            if (('begin', 'restart', 'finish', 'no') -contains $verb) { drop }
            answer "$id err $reason"
        }
    }
} catch {
    # The connection is gone. What is there of a file is for the next copy to go on with.
    shut
}
exit
