#!/usr/bin/env bash
# Training on a Cloud TPU slice through a queued resource, from a laptop with gcloud.
#
#   launch/tpu/tpu.sh up     --settings=mine.sh     create, wait, set up, run, watch, and again after a preemption
#   launch/tpu/tpu.sh COMMAND --settings=mine.sh [--dry-run]
#
#   create  ask for the slice          setup   code and packages on all workers     logs    follow worker 0
#   wait    until it is there          run     start the training, detached         status  of the slice and the run
#   watch   until the run is done; a slice that was preempted is asked for again and the run resumed
#   delete  the slice and its request (the bill ends here)
#
# --dry-run prints every gcloud command and runs none. Exit codes: 0 done, 1 the training or the slice failed,
# 2 the command line or the settings are wrong.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "$HERE/../.." && pwd)"
REMOTE=rrft_jax # the folder of the code in the home of every worker
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
    *[Qq]uota*) say "error: no quota for $ACCELERATOR_TYPE in $ZONE: ask for it (IAM & Admin, Quotas), or change ZONE, \
ACCELERATOR_TYPE or SPOT in $SETTINGS" ;;
    *ALREADY_EXISTS* | *"already exists"*) say "error: $NAME exists in $ZONE: '$0 status', '$0 watch' or '$0 delete' it, \
or change NAME in $SETTINGS" ;;
    *) say "error: the slice was not granted, see gcloud's message above" ;;
  esac
  return 1
}

# ACTIVE, WAITING_FOR_RESOURCES, SUSPENDED, FAILED, ...; GONE where there is no such request.
state() {
  local found errors # apart: a warning beside ACTIVE is no state
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

wait_for_slice() {
  if ((DRY_RUN)); then
    queue describe --format='value(state.state)'
    return
  fi
  local now last=
  while true; do
    now="$(state)"
    [[ "$now" == "$last" ]] || say "$NAME is $now"
    last="$now"
    case "$now" in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDED | SUSPENDING | GONE) return 1 ;;
    esac
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
setsid nohup bash -c $(printf %q ".venv/bin/python launch/train.py$flags > train.log 2>&1; echo \$? > train.exit") \
< /dev/null > /dev/null 2>&1 &"
}

logs() { on_workers 0 "tail -n 200 -F $REMOTE/train.log"; }

# done (the run left its DONE file), the exit code that it ended with before it was done, running, absent (it never
# started, or died without a word), or unreachable.
look() {
  printf 'if [ -e %q/DONE ]; then echo done; elif ! cat %s/train.exit 2> /dev/null; then ' "$WORKDIR" "$REMOTE"
  printf "if pgrep -f '[l]aunch/train.py' > /dev/null; then echo running; else echo absent; fi; fi"
}
progress() {
  local answer
  answer="$(on_workers 0 "$(look)" 2> /dev/null)" || answer=unreachable
  printf '%s\n' "${answer##*$'\n'}"
}

start_again() {
  say "asking for $NAME again; the run goes on from its last checkpoint in $WORKDIR"
  queue delete --force --quiet || say "there was nothing to delete"
  DELETED_HERE=1
  create || return 1
  DELETED_HERE=0
  wait_for_slice && setup && run
}

DELETED_HERE=0 # 1 from the delete of a restart until its create: only then is GONE our own doing
MAX_STRANGE=10 # looks in a row at a state that says nothing
RESTARTS=0
count_restart() {
  ((RESTARTS < MAX_RESTARTS)) || fail 1 "$MAX_RESTARTS restarts are used up (MAX_RESTARTS in $SETTINGS)"
  RESTARTS=$((RESTARTS + 1))
}

watch_run() {
  if ((DRY_RUN)); then
    queue describe --format='value(state.state)'
    on_workers 0 "$(look)"
    say "after a preemption: delete, create, wait, setup, run, at most $MAX_RESTARTS times"
    return
  fi
  local slice result last='' strange=0
  while true; do
    slice="$(state)"
    [[ "$slice" != GONE ]] || ((DELETED_HERE)) || case "$last" in
      SUSPENDED | SUSPENDING | FAILED) ;;
      *) fail 1 "the slice was deleted elsewhere: $NAME is gone; '$0 up' asks for it again" ;;
    esac
    last="$slice"
    case "$slice" in ACTIVE | SUSPENDED | SUSPENDING | FAILED | WAITING* | PROVISIONING* | CREATING*) strange=0 ;; esac
    result=running
    [[ "$slice" == ACTIVE ]] && result="$(progress)"
    case "$slice $result" in
      "ACTIVE done")
        say "the run is done: $WORKDIR. The slice is still paid for: '$0 delete'"
        return 0
        ;;
      "ACTIVE running" | "ACTIVE unreachable" | WAITING* | PROVISIONING* | CREATING* | ACCEPTED* | DELETING*) ;;
      "ACTIVE absent")
        say "no training is on worker 0: setting up and starting it"
        count_restart
        { setup && run; } || say "the training could not be started"
        ;;
      "ACTIVE 0" | "ACTIVE 130" | "ACTIVE 143") # 0 without DONE: saved after SIGTERM; 143: too early to save
        say "a signal stopped the training before it was done (code $result)"
        sleep "$POLL"
        [[ "$(state)" == ACTIVE ]] || continue # the signal was the first sign of a preemption
        count_restart
        run || say "the training could not be started"
        ;;
      ACTIVE*)
        on_workers 0 "tail -n 30 $REMOTE/train.log" || true
        fail 1 "the training ended with code $result, see above; '$0 logs' shows more, '$0 run' starts it again"
        ;;
      SUSPENDED* | SUSPENDING* | FAILED* | GONE*)
        say "$NAME is $slice: preempted, or the machine failed"
        count_restart
        start_again || say "restart $RESTARTS of $MAX_RESTARTS did not come up"
        last=
        ;;
      *)
        strange=$((strange + 1))
        say "$NAME is $slice, which says nothing: looking again ($strange of $MAX_STRANGE)"
        ((strange < MAX_STRANGE)) || fail 1 "the state of $NAME stays unknown. Nothing was deleted: the slice may still be there \
and paid for. '$0 status' looks, '$0 watch' goes on, '$0 delete' ends it"
        ;;
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
  [[ "$slice" != ACTIVE ]] || printf 'training %s\n' "$(progress)"
}

delete() { queue delete --force --quiet; }

up() {
  create || exit 1
  wait_for_slice || say "$NAME did not come up at first"
  if ((DRY_RUN)) || [[ "$(state)" == ACTIVE ]]; then
    { setup && run; } || fail 1 "the training was not started. The slice is still there and paid for: '$0 watch' goes on \
(setup and run again), '$0 run' only starts, '$0 delete' ends it"
  fi
  watch_run
}

usage() { sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed '$d;s/^# \{0,1\}//'; }

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
: "${SPOT:=0}" "${VALID_UNTIL:=}" "${MOUNT:=true}"
[[ "$PROJECT" != my-project ]] || ((DRY_RUN)) || fail 2 "$SETTINGS: PROJECT is still the example's"
((DRY_RUN)) || command -v gcloud > /dev/null || fail 2 "gcloud is not on PATH: install the Google Cloud CLI"

case "$COMMAND" in
  create) create || exit 1 ;;
  setup | run | logs | status | delete | up) "$COMMAND" ;;
  wait) wait_for_slice || fail 1 "$NAME did not become ACTIVE; '$0 delete' and ask again" ;;
  watch) watch_run ;;
  "") fail 2 "no command: create, wait, setup, run, logs, status, watch, up or delete (--help)" ;;
  *) fail 2 "command $COMMAND is not known: create, wait, setup, run, logs, status, watch, up or delete" ;;
esac
