package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strings"

	"mayfly/runtime/image"
)

// A web is a published directory behind a web server. curl(1) gets its files: it knows
// proxies, certificates and interrupted downloads.
type web struct {
	url   string // without a slash at the end
	trust Trust
	store *image.Store
}

func parseWeb(text string, trust Trust, store *image.Store) (Source, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("source %q: want https://HOST/PATH", text)
	}
	if u.User != nil {
		return nil, errors.New("a source with a user or password would show it to everybody: they belong into root's .netrc, see curl(1)")
	}
	host := u.Hostname()
	local := host == "localhost" || host == "127.0.0.1" || host == "::1"
	if u.Scheme == "http" && trust.Signers == "" && !trust.Unsigned && !local {
		return nil, fmt.Errorf("source %s: whoever is on the way can change what comes by http://: give the file of allowed signers with --signers, use https://, or say --unsigned", text)
	}
	return web{strings.TrimRight(u.String(), "/"), trust, store}, nil
}

// curl returns a command that gets a file. It gives up where nothing comes for a minute.
// What was asked for by https does not come by http.
func (s web) curl(ctx context.Context, name string, args ...string) *exec.Cmd {
	protocols := "=http,https"
	if strings.HasPrefix(s.url, "https:") {
		protocols = "=https"
	}
	args = append([]string{"--silent", "--show-error", "--fail", "--location", "--netrc-optional", "--proto", protocols, "--proto-redir", protocols,
		"--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60"}, args...)
	return exec.CommandContext(ctx, "curl", append(args, "--", s.url+"/"+name)...)
}

func (s web) Index(ctx context.Context) (Index, error) {
	cmd := s.curl(ctx, IndexName, "--compressed", "--max-filesize", fmt.Sprint(maxIndex))
	data, err := output(cmd)
	var index Index
	if err == nil {
		index, err = s.trust.open(ctx, data)
	}
	if err != nil {
		return index, fmt.Errorf("source %s: %w", s.url, err)
	}
	return index, nil
}

// Open gets a file, and goes on where an earlier download has ended.
func (s web) Open(ctx context.Context, w Wanted) (*Content, error) {
	f, err := w.choose()
	if err != nil {
		return nil, err
	}
	part, err := s.store.OpenPart(f.SHA256)
	if err != nil {
		return nil, err
	}
	if err := s.download(ctx, f, part); err != nil {
		return nil, errors.Join(err, part.Close())
	}
	return &Content{ReadCloser: part, Archive: true, Base: f.Base, Drop: part.Drop}, nil
}

// tries is how often a download goes on by itself that breaks off.
const tries = 4

// download completes the file. What is not what the index says is thrown away.
func (s web) download(ctx context.Context, f File, part *image.Part) error {
	size, err := part.File.Seek(0, io.SeekEnd)
	for try := 1; err == nil && size < f.Bytes; try++ {
		cmd := s.curl(ctx, f.Name, "--continue-at", fmt.Sprint(size))
		failed := fetch(cmd, part.File, f.Bytes-size)
		before := size
		size, err = part.File.Seek(0, io.SeekEnd)
		if failed == nil || err != nil {
			continue
		}
		const noRange = 33 // the server does not continue files
		startsAgain := before > 0 && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == noRange
		if try == tries || ctx.Err() != nil || size == before && !startsAgain {
			return failed
		}
		if startsAgain {
			size, err = 0, part.Empty()
		}
	}
	if err != nil {
		return err
	}
	if _, err := part.File.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, part.File); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		part.Drop()
		return fmt.Errorf("%s/%s is not the file that the index names: the source has changed meanwhile, or it was damaged on its way", s.url, f.Name)
	}
	_, err = part.File.Seek(0, io.SeekStart)
	return err
}
