package secretstore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// A Reader is somebody who has read a secret, as Vault's audit log tells.
type Reader struct {
	Name    string    // the display name of the token: "approle", "kubernetes-default-shop"
	Role    string    // of the login, if it tells one
	Entity  string    // the id of the entity, if it has one
	Address string    // from where
	Times   int       // how often
	Last    time.Time // when the last time was
	// Leaked says that what was read was the value of the location; of others it
	// is known only that they read the secret.
	Leaked bool
}

// String names the reader for people: "approle (role shop) at 10.0.0.7".
func (r Reader) String() string {
	text := r.Name
	if r.Role != "" {
		text += " (role " + r.Role + ")"
	}
	return text + " at " + r.Address
}

const (
	maxAuditLine = 4 << 20 // a request's bound in Vault is 32 MiB, but a read is small
	maxAuditLog  = 1 << 30 // of which the end is read
	maxReaders   = 1000
)

// ErrNoAuditLog means that nobody has named an audit log.
var ErrNoAuditLog = errors.New("no audit log of Vault is configured")

// An auditEntry is what is wanted of a line of the log. Values, tokens and, unless the
// device says otherwise, accessors are hashed there; names and addresses are not.
// https://developer.hashicorp.com/vault/docs/audit
type auditEntry struct {
	Type  string    `json:"type"`
	Time  time.Time `json:"time"`
	Error string    `json:"error"`
	Auth  struct {
		Accessor    string            `json:"accessor"`
		DisplayName string            `json:"display_name"`
		EntityID    string            `json:"entity_id"`
		Metadata    map[string]string `json:"metadata"`
	} `json:"auth"`
	Request struct {
		Operation     string `json:"operation"`
		Path          string `json:"path"`
		RemoteAddress string `json:"remote_address"`
	} `json:"request"`
	Response struct {
		Data struct {
			Data map[string]any `json:"data"`
		} `json:"data"`
	} `json:"response"`
}

// Readers lists who has read a secret according to the audit log, those of the value
// first, and then who read it last. Stanch's own reads are left out where its accessor
// is known. Who got the value that the location's version holds is known by its hash,
// where a device is configured to ask and the version is not destroyed.
func (v *Vault) Readers(ctx context.Context, loc Location) ([]Reader, error) {
	if v.auditLog == "" {
		return nil, ErrNoAuditLog
	}
	kv, path, err := v.open(ctx, loc)
	if err != nil {
		return nil, err
	}
	var value string
	if n, err := loc.Version.number(); err == nil && n > 0 {
		if old, err := kv.GetVersion(ctx, path, n); err == nil {
			value, _ = old.Data[loc.Field].(string)
		}
	}
	read := strings.TrimSuffix(loc.Path, path) + "data/" + path
	own, hash, err := v.auditHashes(ctx, value)
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", loc, err)
	}
	log, err := openEnd(v.auditLog)
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", loc, err)
	}
	defer log.Close()
	found := auditReaders{}
	err = eachLine(ctx, log, func(line []byte) {
		e, ok := parseRead(line, read)
		if ok && !slices.Contains(own, e.Auth.Accessor) {
			found.add(e, hash != "" && e.Response.Data.Data[loc.Field] == hash)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("readers of %s: %w", loc, err)
	}
	return sortReaders(found), nil
}

// parseRead parses the line of a read of a path that Vault answered.
func parseRead(line []byte, path string) (e auditEntry, ok bool) {
	if !bytes.Contains(line, []byte(`"response"`)) || json.Unmarshal(line, &e) != nil {
		return e, false
	}
	answered := e.Type == "response" && e.Error == "" && e.Response.Data.Data != nil
	return e, answered && e.Request.Operation == "read" && e.Request.Path == path
}

// auditReaders are those found so far, by all that tells one from another.
type auditReaders map[Reader]*Reader

func (r auditReaders) add(e auditEntry, leaked bool) {
	who := Reader{
		Name: e.Auth.DisplayName, Role: cmp.Or(e.Auth.Metadata["role_name"], e.Auth.Metadata["role"]),
		Entity: e.Auth.EntityID, Address: e.Request.RemoteAddress, Leaked: leaked,
	}
	known := r[who]
	switch {
	case known != nil:
	case len(r) == maxReaders:
		return
	default:
		first := who
		known = &first
		r[who] = known
	}
	known.Times++
	if e.Time.After(known.Last) {
		known.Last = e.Time
	}
}

func sortReaders(found auditReaders) []Reader {
	var all []Reader
	for _, r := range found {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Reader) int {
		if a.Leaked != b.Leaked && a.Leaked {
			return -1
		}
		if a.Leaked != b.Leaked {
			return 1
		}
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address))
	})
	return all
}

// auditHashes asks what the audit device writes in place of the value, and of Stanch's
// own accessor, which it may also write as it is.
func (v *Vault) auditHashes(ctx context.Context, value string) (own []string, hash string, err error) {
	self, err := v.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("look up Stanch's own token: %w", tell(err))
	}
	accessor, err := self.TokenAccessor()
	if err != nil || v.auditDevice == "" {
		return []string{accessor}, "", err
	}
	hashes := map[string]string{}
	for _, input := range []string{accessor, value} {
		if input == "" {
			continue
		}
		hashes[input], err = v.client.Sys().AuditHashWithContext(ctx, v.auditDevice, input)
		if denied(err) {
			return nil, "", fmt.Errorf("%w: the policy of Stanch's own token lacks %q on sys/audit-hash/%s", tell(err), "update", v.auditDevice)
		}
		if err != nil {
			return nil, "", fmt.Errorf("ask for hashes of audit device %s: %w", v.auditDevice, tell(err))
		}
	}
	return []string{accessor, hashes[accessor]}, hashes[value], nil
}

// openEnd opens a log at its end, or at its beginning if it is not too long.
func openEnd(path string) (*os.File, error) {
	log, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := log.Stat(); err == nil && info.Size() > maxAuditLog {
		if _, err := log.Seek(-maxAuditLog, io.SeekEnd); err != nil {
			log.Close()
			return nil, err
		}
	}
	return log, nil
}

// eachLine reads lines. One that is too long, or cut, is none.
func eachLine(ctx context.Context, r io.Reader, do func([]byte)) error {
	lines := bufio.NewReaderSize(r, maxAuditLine)
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := lines.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			line = nil
			_, err = lines.ReadSlice('\n')
		}
		if len(line) > 0 {
			do(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
