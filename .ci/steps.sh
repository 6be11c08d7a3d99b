# Sourced by run and long: named, timed steps, a bound on the whole, and the steps that both have.

# bounded MINUTES SCRIPT starts the script again under a time limit, unless it is under one.
bounded() {
	if [[ -z ${FDS_CI_BOUNDED:-} ]]; then
		FDS_CI_BOUNDED=1 exec timeout --kill-after=30 "$1m" bash "$2" </dev/null
	fi
	trap 'exit 143' TERM
	trap 'ended $?' EXIT
}

current=''
kept=dist/ci # what the steps print at length; not committed

# step NAME COMMAND... runs a command; when it fails, so does the script.
step() {
	current=$1
	shift
	printf '\n== %s\n' "$current"
	local started=$SECONDS
	"$@"
	printf -- '-- %s: %d s\n' "$current" $((SECONDS - started))
	current=''
}

ended() {
	if (($1 != 0)); then
		if (($1 == 143)); then
			printf '\nSTOPPED at the time limit in: %s\n' "${current:-between two steps}" >&2
		else
			printf '\nFAILED in: %s (status %d)\n' "${current:-between two steps}" "$1" >&2
		fi
	fi
}

# tests [FLAG...] runs the command of the README against the real parts, with the race detector. A
# skipped test is a failure.
tests() {
	mkdir -p "$kept"
	go build -o "$kept/testreport" ./.ci/testreport
	FDS_REQUIRE_REAL=1 go test -race -count=1 -timeout 20m -parallel 8 -json "$@" ./... | tee "$kept/test.json" | "$kept/testreport" | tee "$kept/test.txt"
}

# summary repeats the line that counts the tests: it is the last one.
summary() {
	printf '\n'
	tail -n 1 "$kept/test.txt"
}
