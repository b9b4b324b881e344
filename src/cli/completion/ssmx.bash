# Completion of ssmx for bash: source <(ssmx completion bash)
_ssmx() {
    local candidate
    COMPREPLY=()
    # The line and not its words: bash ends words at : and =, ssmx does not.
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <(command ssmx __complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/:@] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o default -o nosort -F _ssmx ssmx 2>/dev/null ||
    complete -o bashdefault -o default -F _ssmx ssmx
