# bash completion for tidemark(1)

# What the daemon is asked, with what the command line says about where it is; silence if it does
# not answer at once.
_tidemark_ask() {
    local i
    local -a where=()
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        --connect | --data | --secret-file) where+=("${words[i]}" "${words[i + 1]}") ;;
        --connect=* | --data=* | --secret-file=*) where+=("${words[i]}") ;;
        esac
    done
    tidemark "$@" "${where[@]}" --json --timeout 1s 2>/dev/null
}

# Names may hold blanks, so they come from the JSON, where each stands on a line of its own.
_tidemark_jobs() {
    _tidemark_ask jobs | sed -n 's/^      "name": "\(.*\)",$/\1/p'
}

_tidemark_snapshots() {
    _tidemark_ask snapshots --limit 50 | sed -n 's/^      "snapshot": \([0-9]*\),$/\1/p'
}

_tidemark() {
    local word=${COMP_WORDS[COMP_CWORD]} before
    local -a words=()
    local common="--json --connect --data --secret-file --timeout --help --version"
    local command="" i options="" answers="" ask="" IFS=$' \t\n'
    COMPREPLY=()

    # The shell has split the line at colons and equals signs as well: HOST:PORT is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if ((i)) && [[ ${COMP_WORDS[i]} == [:=] || ${COMP_WORDS[i - 1]} == [:=] ]]; then
            words[-1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
    done
    before=${words[-2]}

    case $before in
    --data | --target | --from)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    --secret-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --alignment)
        mapfile -t COMPREPLY < <(compgen -W "aligned unaligned timeout at-least-once" -- "$word")
        return
        ;;
    --connect | --timeout | --label | --key | --limit | --cause | --snapshot | --operator | --state | --job | --max-parallelism | --parallelism | --rename | --drop) return ;;
    esac

    # The words that are not options tell the command.
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
        --data | --target | --from | --secret-file | --connect | --timeout | --label | --key | --limit | --cause | --snapshot | --alignment | --operator | --state | --job | --max-parallelism | --parallelism | --rename | --drop) ((++i)) ;;
        -*) ;;
        *) command="${command:+$command }${words[i]}" ;;
        esac
    done

    case $command in
    "") answers="jobs job savepoint checkpoint stop cancel hold release restore snapshots snapshot lineage retention rounds operation state status" ;;
    job) answers="show" ;;
    state) answers="ls read write convert diff" ;;
    snapshot) answers="show verify dispose import export" ;;
    "job show" | savepoint | checkpoint | stop | cancel | hold | release | restore | "snapshot import" | snapshots | retention | rounds) ask="jobs" ;;
    "snapshot show" | "snapshot verify" | "snapshot dispose" | "snapshot export") ask="snapshots" ;;
    lineage) ask="jobs snapshots" ;;
    esac
    case $command in
    savepoint*) options="--target --label --commits --native --alignment --key --detach" ;;
    checkpoint*) options="--full --key --detach" ;;
    stop*) options="--target --label --drain --checkpoint --supersede --key --detach" ;;
    cancel*) options="--target --label --savepoint --key --detach" ;;
    hold*) options="--cause --key --detach" ;;
    release*) options="--abandon-owed --allow-repeat --key --detach" ;;
    restore*) options="--snapshot --from --latest --nothing --allow-unmatched --allow-repeat --abandon-owed --dry-run --key --detach" ;;
    snapshots*) options="--all --limit" ;;
    "snapshot show"*) options="--tasks" ;;
    "snapshot dispose"* | "snapshot export"*) options="--key --detach" ;;
    "snapshot import"*) options="--from --label --dry-run --key --detach" ;;
    rounds*) options="--failed --limit" ;;
    operation*) options="--wait" ;;
    status*) options="--verbose" ;;
    "state write"*) options="--job --max-parallelism --csv" ;;
    "state convert"*) options="--rename --drop --parallelism --job --max-parallelism" ;;
    "state read"*) options="--operator --state --csv" ;;
    state*) options="--operator --state" ;;
    esac

    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options $common" -- "$word")
        return
    fi
    [[ -z $answers ]] || mapfile -t COMPREPLY < <(compgen -W "$answers" -- "$word")
    for i in $ask; do
        while IFS= read -r answers; do
            printf -v answers %q "$answers"
            [[ $answers != "$word"* ]] || COMPREPLY+=("$answers")
        done < <("_tidemark_$i")
    done
}

complete -F _tidemark tidemark
