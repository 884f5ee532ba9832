"""`ssl completion SHELL`: a script for each shell, which asks `ssl completion --line` what the last word may become."""

from ssl_cli.errors import InputError

# Words that end in =, . or / go on: no space follows them. Fish leaves it out by itself.
BASH = """\
_ssl_complete() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
        [[ $word == *[=./] ]] && compopt -o nospace
    done < <("$1" completion --line "${COMP_LINE:0:COMP_POINT}" --breaks "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -F _ssl_complete ssl
"""
ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_ssl_complete() {
    local -a found
    found=("${(@f)$(${words[1]} completion --line "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    compadd -S '' -- ${(M)found:#*[=./]}
    compadd -- ${found:#*[=./]}
}
compdef _ssl_complete ssl
"""
FISH = """\
function __ssl_complete
    set -l words (commandline -opc)
    command -q $words[1]; and $words[1] completion --line (commandline -cp | string collect) 2>/dev/null
end
complete -c ssl -f -a '(__ssl_complete)'
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
USAGE = """usage: ssl completion bash|zsh|fish: print a script that completes verbs, choices, options, runs and files
  eval "$(ssl completion bash)"      in ~/.bashrc
  eval "$(ssl completion zsh)"       in ~/.zshrc
  ssl completion fish | source       in ~/.config/fish/config.fish"""


def script(arguments: list[str]) -> str:
    """Return the script for the shell that the arguments name, or how to use it. Raises InputError for another one."""
    if not arguments or {"--help", "-h"} & set(arguments):
        return USAGE
    if len(arguments) > 1 or arguments[0] not in SHELLS:
        raise InputError(f"ssl completion takes one of {', '.join(SHELLS)}, not {' '.join(arguments)}.")
    return SHELLS[arguments[0]].rstrip()
