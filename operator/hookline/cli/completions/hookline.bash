# bash completion for hookline and kubectl-hookline; see hookline completion --help.
_hookline() {
    local word line directive current="" value description tab=$'\t'
    local -a words=() lines=() values=()
    # Bash splits --option=value and context:name into several words; put them together again.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if ((${#words[@]})) && [[ $word == [=:]* || ${words[-1]} == *[=:] && ${words[-1]} != [=:] ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    current=${words[-1]-}
    mapfile -t lines < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
    ((${#lines[@]})) || return 0
    directive=${lines[-1]#:}
    unset 'lines[-1]'
    for line in "${lines[@]}"; do
        values+=("${line%%"$tab"*}")
    done
    COMPREPLY=()
    for value in "${values[@]}"; do
        # What stands before the last = or : is in the line already.
        [[ $current == *:* && $value == "${current%:*}":* ]] && value=${value#"${current%:*}":}
        COMPREPLY+=("$value")
    done
    if ((${#COMPREPLY[@]} == 0 && (directive & 4) == 0)); then
        compopt -o default 2>/dev/null
    fi
}
complete -F _hookline hookline kubectl-hookline
