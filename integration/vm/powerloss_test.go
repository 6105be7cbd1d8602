package vm

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// cuts is how often the power goes.
func cuts(t *testing.T) int {
	text := os.Getenv("MAYFLY_POWER_CUTS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	kit.Must(t, err)
	return n
}

// begin makes an image with versions, and a session, that the work then changes.
const begin = image + `
cd /; su mayfly-test -c "cd /; runtime session begin --name work bb" && mkdir -p /root/work && sync`

// work does what a build server does, all at once, and says what it has done: that is
// promised.
const work = `cd /root/work
(while :; do
	runtime run --quiet --chdir / deb12-i386 true
	su mayfly-test -c "cd /; runtime run --quiet --writable deb12-i386-sealed sh -c 'head -c 3M /dev/zero >/srv/big; sync'"
done) &
(i=$(cat image 2>/dev/null || echo 0); while :; do
	i=$((i+1)); printf 'from = "bb"\n[[file]]\npath = "/srv/what"\ncontent = "%d"\n' $i >recipe.toml; echo $i >image
	runtime image create bb --next recipe.toml >/dev/null && echo promised image $i
	case $((i % 4)) in 0) runtime image prune --keep 2 bb >/dev/null ;; 1) runtime image clone bb copy$i >/dev/null; runtime image remove copy$((i-8)) 2>/dev/null ;;
	2) tar -C /tmp/bb -cf - . | runtime image import in$i - >/dev/null; runtime image remove in$((i-8)) 2>/dev/null ;; esac
done) &
(i=$(cat session 2>/dev/null || echo 0); while :; do
	i=$((i+1)); echo $i >session
	su mayfly-test -c "cd /; runtime run --quiet --session work sh -c 'echo $i >/srv/new; /bin/busybox fsync /srv/new; /bin/busybox mv /srv/new /srv/now; /bin/busybox sync'" && echo promised session $i
	su mayfly-test -c "cd /; runtime session begin --name s$i bb >/dev/null && runtime session end s$i"
done) &
wait`

// examine runs after a boot: everything that is sealed is as it was, gc leaves nothing,
// everything goes on. It ends with what the image and the session hold.
const examine = `cd /; set -e
if dmesg | grep -E 'BTRFS (error|critical|alert|emergency)'; then exit 1; fi
if [ "$1" = all ]; then
	# A cut between the two superblocks leaves an old one, which BTRFS writes anew when it commits.
	touch /var/lib/machines/cut; btrfs filesystem sync /var/lib/machines; rm /var/lib/machines/cut
	btrfs scrub start -B /var/lib/machines > /tmp/scrub || true; cat /tmp/scrub; grep -qi 'no errors found' /tmp/scrub
fi
for record in /var/lib/machines/*/*.json; do
	version=${record%.json}; name=${version%/*}; case $name in */deb12-*) [ "$1" = all ] || continue ;; esac
	runtime image verify ${name##*/}@${version##*/}
done
runtime gc; echo "collected again: $(runtime gc)"
for directory in /var/lib/machines/.mayfly /run/mayfly/*; do [ -z "$(ls -A $directory 2>/dev/null)" ]; done
for name in $(runtime image list --names); do runtime run --quiet --chdir / $name true; done
su mayfly-test -c "cd /; runtime session list"
echo "image $(runtime run --quiet bb cat /srv/what)"
echo "session $(su mayfly-test -c "cd /; runtime run --quiet --session work cat /srv/now")"
runtime image list`

func TestPowerLoss(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := overlay(t, dir, "root", filepath.Join(Prepare(t, "bookworm"), "root.img"))
	disks := []Disk{overlay(t, dir, "store", storeDisk(t).Path), payload(t, nil)}
	m := Boot(t, "bookworm", root, disks...)
	m.Must(t, unpack+" && dpkg -i /src/mayfly_*.deb && "+prepare+" && "+begin)
	promised := map[string]int{}
	n := cuts(t)
	for i := range n {
		after := time.Second + rand.N(14*time.Second)
		m.workUntilCut(t, after, promised)
		m = Boot(t, "bookworm", root, disks...)
		how := "set --; "
		if i == n-1 {
			how = "set -- all; "
		}
		out := m.Must(t, how+examine)
		for what, at := range promised {
			found := regexp.MustCompile(`(?m)^` + what + ` (\d+)$`).FindStringSubmatch(out)
			if found == nil {
				t.Fatalf("cut %d after %v: no %s in:\n%s", i, after, what, out)
			}
			if now, _ := strconv.Atoi(found[1]); now < at {
				t.Errorf("cut %d after %v: %s is at %d, %d was promised:\n%s", i, after, what, now, at, out)
			}
		}
		if !regexp.MustCompile(`(?m)^collected again: $`).MatchString(out) {
			t.Errorf("gc did not remove everything at once:\n%s", out)
		}
		t.Logf("cut %d after %v, promised %v", i, after.Round(time.Millisecond), promised)
	}
}

// workUntilCut has the machine work, and cuts its power. What it has promised is noted.
func (m *Machine) workUntilCut(t *testing.T, after time.Duration, promised map[string]int) {
	var group sync.WaitGroup
	group.Go(func() {
		_, _, _ = m.Do(work, time.Hour, func(line string) {
			if found := regexp.MustCompile(`^promised (\w+) (\d+)$`).FindStringSubmatch(line); found != nil {
				promised[found[1]], _ = strconv.Atoi(found[2])
			}
		})
	})
	time.Sleep(after)
	m.Kill()
	group.Wait()
}

// overlay makes a disk that keeps what is written to it, on top of one that stays as it
// is.
func overlay(t *testing.T, dir, name, base string) Disk {
	t.Helper()
	path := filepath.Join(dir, name)
	command(t, ".", "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", path)
	return Disk{Path: path, Format: "qcow2", Kept: true}
}
