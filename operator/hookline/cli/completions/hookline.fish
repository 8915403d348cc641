# fish completion for hookline and kubectl-hookline; see hookline completion --help.
function __hookline_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete $words[2..] "$current" 2>/dev/null)
    test (count $lines) -gt 0; or return
    set -l directive (string replace ':' '' -- $lines[-1])
    set -e lines[-1]
    set -l prefix (string match -r -- '^-[^=]*=' "$current")
    for line in $lines
        echo "$prefix$line"
    end
    if test (count $lines) -eq 0 -a (math "bitand($directive, 4)") -eq 0
        __fish_complete_path "$current"
    end
end
complete -c hookline -f -a '(__hookline_complete)'
complete -c kubectl-hookline -f -a '(__hookline_complete)'
