#compdef hookline kubectl-hookline
# zsh completion for hookline and kubectl-hookline; see hookline completion --help.
_hookline() {
    local line directive value description tab=$'\t'
    local -a lines candidates
    lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    (( ${#lines} )) || return 1
    directive=${lines[-1]#:}
    lines[-1]=()
    for line in "${lines[@]}"; do
        value=${line%%"$tab"*}
        description=${line#"$value"}
        candidates+=("${value//:/\\:}:${description#"$tab"}")
    done
    [[ $PREFIX == -*=* ]] && compset -P '*='
    if (( ${#candidates} )); then
        _describe -t values 'hookline' candidates
    elif (( (directive & 4) == 0 )); then
        _files
    fi
}
# Sourced, the function is registered here; found in fpath, it is called.
if [[ ${funcstack[1]} == _hookline ]]; then
    _hookline "$@"
else
    compdef _hookline hookline kubectl-hookline
fi
