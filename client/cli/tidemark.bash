# bash completion for tidemark(1)

_tidemark_jobs() {
    # Asked of the daemon that the environment names; silence if there is none.
    tidemark jobs --timeout 1s 2>/dev/null | awk 'NR > 1 && /^[^ ]/ { print $1 }'
}

_tidemark() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local common="--json --connect --data --secret-file --timeout --help --version"
    local command="" n=0 i options="" answers=""
    COMPREPLY=()

    case $before in
    --data | --target)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    --secret-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --connect | --timeout | --label | --key | --limit) return ;;
    esac

    # The words that are not options tell the command.
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --data | --target | --secret-file | --connect | --timeout | --label | --key | --limit) ((++i)) ;;
        -*) ;;
        *)
            ((++n))
            command="${command:+$command }${COMP_WORDS[i]}"
            ;;
        esac
    done

    case $command in
    "") answers="jobs job savepoint checkpoint snapshots snapshot lineage rounds operation status" ;;
    job) answers="show" ;;
    snapshot) answers="show verify" ;;
    "job show" | savepoint | checkpoint | snapshots | lineage | rounds) answers="jobs?" ;;
    esac
    case $command in
    savepoint*) options="--target --label --key --detach" ;;
    checkpoint*) options="--key --detach" ;;
    snapshots*) options="--all --limit" ;;
    "snapshot show"*) options="--tasks" ;;
    rounds*) options="--failed --limit" ;;
    operation*) options="--wait" ;;
    esac

    if [[ $word == -* ]]; then
        answers="$options $common"
    elif [[ $answers == "jobs?" ]]; then
        answers=$(_tidemark_jobs)
    fi
    mapfile -t COMPREPLY < <(compgen -W "$answers" -- "$word")
}

complete -F _tidemark tidemark
