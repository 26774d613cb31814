#!/usr/bin/env bash
# Training on a Cloud TPU slice through a queued resource, from a laptop with gcloud.
#
#   launch/tpu/tpu.sh up     --settings=mine.sh     create, wait, set up, run, watch, and again after a preemption
#   launch/tpu/tpu.sh COMMAND --settings=mine.sh [--dry-run]
#
#   create  ask for the slice          setup   code and packages on all workers     logs    follow worker 0
#   wait    until it is there          run     start the training, detached         status  of the slice and the run
#   stop    the training on all workers, the slice stays
#   watch   until the run is done; a slice that was preempted is asked for again and the run resumed
#   delete  the slice and its request (the bill ends here)
#
# --dry-run prints every gcloud command and runs none. Exit codes: 0 done, 1 the training or the slice failed,
# 2 the command line or the settings are wrong.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "$HERE/../.." && pwd)"
REMOTE=rrft_jax # the folder of the code in the home of every worker
LOG=train.log   # next to it, since setup makes the folder anew; a training that is started again writes on
DRY_RUN=0
SETTINGS="$HERE/settings.sh"

say() { printf '[tpu] %s\n' "$*" >&2; }
fail() {
  say "error: $2"
  exit "$1"
}

# gcloud, or its command line when nothing is to be run.
cloud() {
  if ((DRY_RUN)); then
    printf 'gcloud'
    printf ' %q' "$@"
    printf '\n'
  else
    gcloud "$@"
  fi
}

queue() { cloud compute tpus queued-resources "$1" "$NAME" --project="$PROJECT" --zone="$ZONE" "${@:2}"; }
vm() { cloud compute tpus tpu-vm "$@" --project="$PROJECT" --zone="$ZONE"; }
on_workers() { vm ssh "$NAME" --worker="$1" --command="$2"; }

create() {
  local flags=(--node-id="$NAME" --accelerator-type="$ACCELERATOR_TYPE" --runtime-version="$RUNTIME_VERSION")
  ((SPOT)) && flags+=(--spot)
  [[ -n "$VALID_UNTIL" ]] && flags+=(--valid-until-duration="$VALID_UNTIL")
  local log
  log="$(mktemp)"
  if queue create "${flags[@]}" ${CREATE_FLAGS[@]+"${CREATE_FLAGS[@]}"} 2> >(tee "$log" >&2); then
    rm -f "$log"
    return 0
  fi
  sleep 0.2 # tee may still be writing
  local reason
  reason="$(cat "$log")"
  rm -f "$log"
  case "$reason" in
    *[Qq]uota*) say "error: no quota for $ACCELERATOR_TYPE in $ZONE: ask for it (IAM & Admin, Quotas), or change \
ZONE, ACCELERATOR_TYPE or SPOT in $SETTINGS" ;;
    *ALREADY_EXISTS* | *"already exists"*) say "error: $NAME exists in $ZONE: '$0 status', '$0 watch' or '$0 delete' \
it, or change NAME in $SETTINGS" ;;
    *) say "error: the slice was not granted, see gcloud's message above" ;;
  esac
  return 1
}

# ACTIVE, WAITING_FOR_RESOURCES, SUSPENDED, FAILED, ...; GONE where there is no such request.
state() {
  local found errors # apart: a warning next to ACTIVE is no state
  errors="$(mktemp)"
  if found="$(queue describe --format='value(state.state)' 2> "$errors")"; then
    printf '%s\n' "${found:-UNKNOWN}"
  elif grep -q NOT_FOUND "$errors"; then
    printf 'GONE\n'
  else
    cat "$errors" >&2
    printf 'UNKNOWN\n' # the network, say: look again later
  fi
  rm -f "$errors"
}

# Gives up once looks at a state that says nothing have gone on for MAX_UNKNOWN seconds.
UNKNOWN_SINCE=
check_state() {
  case "$1" in
    ACTIVE | SUSPENDED | SUSPENDING | FAILED | GONE | WAITING* | PROVISIONING* | CREATING* | ACCEPTED* | DELETING*)
      UNKNOWN_SINCE=
      return
      ;;
  esac
  : "${UNKNOWN_SINCE:=$SECONDS}"
  ((SECONDS - UNKNOWN_SINCE < MAX_UNKNOWN)) || fail 1 "the state of $NAME stays unknown ($1, for \
MAX_UNKNOWN=$MAX_UNKNOWN seconds). Nothing was deleted: the slice may still be there and paid for. '$0 status' looks, \
'$0 watch' resumes, '$0 delete' ends it"
}

wait_for_slice() {
  if ((DRY_RUN)); then
    queue describe --format='value(state.state)'
    return
  fi
  local now last=
  UNKNOWN_SINCE=
  while true; do
    now="$(state)"
    [[ "$now" == "$last" ]] || say "$NAME is $now"
    last="$now"
    case "$now" in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDED | SUSPENDING | GONE) return 1 ;;
    esac
    check_state "$now"
    sleep "$POLL"
  done
}

setup() {
  local code
  code="$(mktemp -d)"
  git -C "$ROOT" archive --format=tar.gz --output="$code/code.tar.gz" HEAD || return 1
  vm scp "$code/code.tar.gz" "$NAME:code.tar.gz" --worker=all || return 1
  rm -r "$code"
  on_workers all "set -e
rm -rf $REMOTE && mkdir -p $REMOTE && tar xzf code.tar.gz -C $REMOTE
command -v $PYTHON > /dev/null || { sudo apt-get -qq update; sudo apt-get -qq install -y $PYTHON $PYTHON-venv; }
cd $REMOTE && $PYTHON -m venv .venv && .venv/bin/pip install --quiet -c requirements.lock -e '.[tpu]'
.venv/bin/python -c 'import jax; print(jax.__version__)'"
}

# Detached, so that a lost connection does not end it; its exit code is left in a file of its own.
run() {
  local flags
  flags="$(printf ' %q' "${TRAIN_FLAGS[@]}" --workdir="$WORKDIR")"
  on_workers all "set -e
{ $MOUNT
} || exit 1
cd $REMOTE && rm -f train.exit
setsid nohup bash -c $(printf %q ".venv/bin/python launch/train.py$flags >> ../$LOG 2>&1; echo \$? > train.exit") \
< /dev/null > /dev/null 2>&1 &"
}

# The run saves if it can; what is stuck without its peers cannot, and is killed. SIGTERM goes to the program alone, not
# to the shell that writes down its exit code. The brackets: not to this shell itself.
stop() { # $1: seconds between SIGTERM and SIGKILL
  on_workers all "pkill -TERM -f '^[.]venv/bin/python launch/train.py'
for _ in \$(seq ${1:-900}); do pgrep -f '[l]aunch/train.py' > /dev/null || exit 0; sleep 1; done
pkill -KILL -f '[l]aunch/train.py'; exit 0"
}

logs() { on_workers 0 "tail -n 200 -F $LOG"; }

# A line of each worker with its name and: done (the run left its DONE file), the exit code that it ended with before it
# was done, running, or absent (it never started, or died without a word).
look() {
  printf "printf 'training %%s ' \"\$(hostname)\"; "
  printf 'if [ -e %q/DONE ]; then echo done; elif ! cat %s/train.exit 2> /dev/null; then ' "$WORKDIR" "$REMOTE"
  printf "if pgrep -f '[l]aunch/train.py' > /dev/null; then echo running; else echo absent; fi; fi"
}

# RESULT of all workers together, and WHERE. done, running, absent or unreachable; stopped: by a signal, with this CODE;
# an exit code: of an error; lost: no worker has an error of its own, but some have no training, or ended for want of
# another's. partly: some still run, and LATER is the result without those. Workers that have ended with 0 wait for
# process 0 to save or to write the result.
progress() {
  local answers word host what failed=0 running=0 absent='' lost='' saved='' stopped='' error=''
  RESULT=unreachable WHERE='' LATER='' CODE=''
  answers="$(on_workers all "$(look)" 2> /dev/null)" || failed=1
  while read -r word host what; do
    [[ "$word" == training && -n "$what" ]] || continue
    case "$what" in
      'done')
        RESULT='done'
        return
        ;;
      running) running=1 ;;
      absent) absent+=" $host" ;;
      0) saved+=" $host" ;;
      130 | 143) stopped+=" $host" CODE="$what" ;; # Ctrl-C, and SIGTERM too early to save
      3 | 134) lost+=" $host" ;;                   # LOST_OTHERS, and the runtime's abort for the same reason
      *) [[ -n "$error" ]] || error="$what $host" ;;
    esac
  done <<< "$answers"
  ((failed)) && return
  if [[ -n "$error" ]]; then
    LATER="${error% *}" WHERE="${error#* }"
  elif [[ -n "$absent" && -z "$lost$saved$stopped" ]] && ((!running)); then
    LATER=absent
  elif [[ -n "$absent$lost" ]]; then
    LATER=lost WHERE="${absent:-$lost}"
  elif [[ -n "$stopped" ]]; then
    LATER=stopped WHERE="$stopped"
  elif ((running)); then
    RESULT=running
  elif [[ -n "$saved" ]]; then
    LATER=stopped CODE=0 WHERE="$saved"
  fi
  WHERE="${WHERE# }"
  [[ -z "$LATER" ]] || RESULT="$LATER"
  [[ -z "$LATER" ]] || ((!running)) || RESULT=partly
}

start_again() {
  say "asking for $NAME again; the run resumes from its last checkpoint in $WORKDIR"
  queue delete --force --quiet || say "there was nothing to delete"
  DELETED_HERE=1
  create || return 1
  DELETED_HERE=0
  wait_for_slice && setup && run
}

DELETED_HERE=0 # 1 from the delete of a restart until its create: only then is GONE our own doing
PATIENCE=3     # looks in a row at a training that runs on some workers alone: they end together, but not at once
RESTARTS=0
count_restart() {
  ((RESTARTS < MAX_RESTARTS)) || fail 1 "$MAX_RESTARTS restarts are used up (MAX_RESTARTS in $SETTINGS). $NAME may \
still be there and paid for: '$0 status' looks, '$0 delete' ends it"
  RESTARTS=$((RESTARTS + 1))
}

watch_run() {
  if ((DRY_RUN)); then
    queue describe --format='value(state.state)'
    on_workers all "$(look)"
    say "after a preemption: delete, create, wait, setup, run, at most $MAX_RESTARTS times"
    return
  fi
  local slice last='' partly=0 unreachable=0
  UNKNOWN_SINCE=
  while true; do
    slice="$(state)"
    [[ "$slice" != GONE ]] || ((DELETED_HERE)) || case "$last" in
      SUSPENDED | SUSPENDING | FAILED) ;;
      *) fail 1 "the slice was deleted elsewhere: $NAME is gone; '$0 up' asks for it again" ;;
    esac
    last="$slice"
    check_state "$slice"
    RESULT=running
    [[ "$slice" != ACTIVE ]] || progress
    if [[ "$RESULT" == partly ]]; then
      partly=$((partly + 1))
      say "the training runs on some workers only, not on $WHERE ($LATER): looking again ($partly of $PATIENCE)"
      ((partly < PATIENCE)) || RESULT="$LATER"
    else
      partly=0
    fi
    if [[ "$RESULT" == unreachable ]]; then
      unreachable=$((unreachable + 1))
      ((unreachable % 10)) || say "not all workers can be reached, $unreachable looks in a row; the training may go \
on. The slice is paid for: '$0 delete' ends it"
    else
      unreachable=0
    fi
    case "$slice $RESULT" in
      "ACTIVE done")
        say "the run is done: $WORKDIR. The slice is still paid for: '$0 delete'"
        return 0
        ;;
      "ACTIVE running" | "ACTIVE unreachable" | "ACTIVE partly") ;;
      "ACTIVE absent")
        say "no training is on the workers: setting up and starting it"
        count_restart
        { setup && run; } || say "the training could not be started"
        ;;
      "ACTIVE lost")
        say "the training was lost on $WHERE: stopping it, setting up and starting it on all workers"
        sleep "$POLL"
        [[ "$(state)" == ACTIVE ]] || continue # a worker that goes was the first sign of a preemption
        count_restart
        { stop 60 && setup && run; } || say "the training could not be started"
        partly=0
        ;;
      "ACTIVE stopped")
        say "a signal stopped the training before it was done (code $CODE)"
        sleep "$POLL"
        [[ "$(state)" == ACTIVE ]] || continue # the signal was the first sign of a preemption
        count_restart
        { stop 60 && run; } || say "the training could not be started"
        partly=0
        ;;
      ACTIVE*)
        on_workers all "[ \"\$(hostname)\" != $WHERE ] || tail -n 30 $LOG" || true
        fail 1 "the training ended with code $RESULT on $WHERE, see above. The slice is still there and paid for: \
after a fix '$0 setup' and '$0 run' start it again, '$0 delete' ends it"
        ;;
      SUSPENDED* | SUSPENDING* | FAILED* | GONE*)
        say "$NAME is $slice: preempted, or the machine failed"
        count_restart
        start_again || say "restart $RESTARTS of $MAX_RESTARTS did not come up"
        last=
        ;;
      *) [[ -z "$UNKNOWN_SINCE" ]] || say "$NAME is $slice, which says nothing: looking again" ;;
    esac
    sleep "$POLL"
  done
}

status() {
  if ((DRY_RUN)); then
    queue describe --format='value(state.state)'
    return
  fi
  local slice
  slice="$(state)"
  printf 'slice    %s\n' "$slice"
  [[ "$slice" == ACTIVE ]] || return 0
  progress
  case "$RESULT" in
    partly) printf 'training partly, not on %s (%s)\n' "$WHERE" "$LATER" ;;
    *) printf 'training %s%s\n' "$RESULT" "${WHERE:+ on $WHERE}" ;;
  esac
}

delete() { queue delete --force --quiet; }

up() {
  create || exit 1
  wait_for_slice || say "$NAME did not come up at first"
  if ((DRY_RUN)) || [[ "$(state)" == ACTIVE ]]; then
    { setup && run; } || fail 1 "the training was not started. The slice is still there and paid for: '$0 watch' goes \
on (setup and run again), '$0 run' only starts, '$0 delete' ends it"
  fi
  watch_run
}

usage() { sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed '$d;s/^# \{0,1\}//'; }

COMMANDS='create, wait, setup, run, stop, logs, status, watch, up or delete'
COMMAND=
for arg in "$@"; do
  case "$arg" in
    --dry-run) DRY_RUN=1 ;;
    --settings=*) SETTINGS="${arg#--settings=}" ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) fail 2 "$arg is not known; there are --settings=FILE and --dry-run" ;;
    *)
      [[ -z "$COMMAND" ]] || fail 2 "one command at a time: $COMMAND or $arg"
      COMMAND="$arg"
      ;;
  esac
done

[[ -f "$SETTINGS" ]] || fail 2 "settings file $SETTINGS does not exist: copy $HERE/settings.sh"
# shellcheck source=launch/tpu/settings.sh
source "$SETTINGS"
for name in PROJECT ZONE NAME ACCELERATOR_TYPE RUNTIME_VERSION WORKDIR TRAIN_FLAGS PYTHON POLL MAX_RESTARTS; do
  [[ -n "${!name:-}" ]] || fail 2 "$SETTINGS: $name is missing or empty"
done
: "${SPOT:=0}" "${VALID_UNTIL:=}" "${MOUNT:=true}" "${MAX_UNKNOWN:=600}"
[[ "$PROJECT" != my-project ]] || ((DRY_RUN)) || fail 2 "$SETTINGS: PROJECT is still the example's"
((DRY_RUN)) || command -v gcloud > /dev/null || fail 2 "gcloud is not on PATH: install the Google Cloud CLI"

case "$COMMAND" in
  create) create || exit 1 ;;
  setup | run | stop) "$COMMAND" || fail 1 "$COMMAND did not go through on all workers, see gcloud's message above; \
'$0 status' says whether they are there" ;;
  logs | status | up) "$COMMAND" ;;
  delete) delete || fail 1 "$NAME was not deleted, see gcloud's message above: as long as '$0 status' finds it, it is \
paid for" ;;
  wait) wait_for_slice || fail 1 "$NAME did not become ACTIVE; '$0 delete' and ask again" ;;
  watch) watch_run ;;
  "") fail 2 "no command: $COMMANDS (--help)" ;;
  *) fail 2 "command $COMMAND is not known: $COMMANDS" ;;
esac
