# Completion of ssmx for fish: ssmx completion fish | source
function __ssmx_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    command ssmx __complete fish (count $words) $words (commandline --current-token --cut-at-cursor) 2>/dev/null
end
complete --command ssmx --no-files --keep-order --arguments '(__ssmx_complete)'
