#compdef ssmx
# Completion of ssmx for zsh: source <(ssmx completion zsh), or as _ssmx in a directory of $fpath
_ssmx() {
    local line
    local -a plain open
    for line in "${(@f)$(command ssmx __complete zsh $((CURRENT - 1)) "${(@Q)words[1,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        if [[ ${line%%$'\t'*} == *[=/:@] ]]; then
            open+=("${${${line%%$'\t'*}//\\/\\\\}//:/\\:}")
        elif [[ $line == *$'\t'* ]]; then
            plain+=("${${${line%%$'\t'*}//\\/\\\\}//:/\\:}:${line#*$'\t'}")
        else
            plain+=("${${line//\\/\\\\}//:/\\:}")
        fi
    done
    [[ -n $plain ]] && _describe -V ssmx plain
    [[ -n $open ]] && _describe -V ssmx open -S ''
    (( $#plain + $#open )) || _files
}
if [[ ${funcstack[1]} == _ssmx ]]; then
    _ssmx "$@"
else
    compdef _ssmx ssmx
fi
