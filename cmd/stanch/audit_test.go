package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/store"
)

// audited makes a database with so many entries in its audit log, and returns its path
// and a run of stanch audit beside it.
func audited(t *testing.T, entries int) (path string, auditLog func(args ...string) (code int, out, errs string)) {
	t.Helper()
	master := bytes.Repeat([]byte{3}, 32)
	keys, err := store.NewKeys(master)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "stanch.db")
	server, err := store.Open(t.Context(), "sqlite:"+path, keys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := server.InTx(t.Context(), func(tx *store.Tx) error {
			return tx.Audit(t.Context(), audit.Entry{At: time.Unix(1700000000+int64(i), 0), Actor: "github:ann", Verb: "approve rotate", Subject: fmt.Sprint("incident-", i)})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"STANCH_DATABASE_URL": "sqlite:" + path, "STANCH_KEY": base64.StdEncoding.EncodeToString(master)}
	return path, func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{"audit"}, args...), strings.NewReader(""), &out, &errs, func(name string) string { return environment[name] })
		return code, out.String(), errs.String()
	}
}

func TestAuditVerify(t *testing.T) {
	path, auditLog := audited(t, 5)
	code, out, errs := auditLog("verify")
	if code != exitDone || errs != "" || !strings.Contains(out, "unbroken: 5 entries") {
		t.Fatalf("status %d, %q, %q", code, out, errs)
	}
	noted := strings.TrimSpace(out[strings.LastIndex(out, " "):])
	if code, _, errs := auditLog("verify", "--noted", noted); code != exitDone {
		t.Errorf("what was noted is not there: %s", errs)
	}
	if code, _, errs := auditLog("verify", "--noted", "6:"+strings.Repeat("0", 64)); code != exitFailed || !strings.Contains(errs, "cut off") {
		t.Errorf("an entry that is gone: status %d, %q", code, errs)
	}
	for _, wrong := range []string{"x", "5", "0:ab", "5:"} {
		if code, _, errs := auditLog("verify", "--noted", wrong); code != exitFailed || !strings.Contains(errs, "NUMBER:HASH") {
			t.Errorf("--noted %s: status %d, %q", wrong, code, errs)
		}
	}

	// Somebody who can write to the file changes who it was.
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(file, []byte("github:annapprove rotateincident-2"), []byte("github:bobapprove rotateincident-2"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := auditLog("verify"); code != exitFailed || !strings.Contains(errs, "audit entry 3 was changed") {
		t.Errorf("a changed entry: status %d, %q", code, errs)
	}
	if code, out, _ := auditLog("export"); code != exitFailed || strings.Count(out, "\n") != 5 {
		t.Errorf("export of a broken log: status %d, %d lines", code, strings.Count(out, "\n"))
	}
}

func TestAuditExport(t *testing.T) {
	_, auditLog := audited(t, 3)
	code, out, errs := auditLog("export")
	if code != exitDone || errs != "" {
		t.Fatalf("status %d, %q", code, errs)
	}
	prev := ""
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq != int64(i+1) || e.Prev != prev || e.Actor != "github:ann" {
			t.Errorf("line %d: %v, %+v", i+1, err, e)
		}
		prev = e.Hash
	}
}

func TestAuditNeedsADatabase(t *testing.T) {
	t.Chdir(t.TempDir())
	auditLog := func(environment map[string]string, args ...string) string {
		var errs strings.Builder
		if code := run(t.Context(), append([]string{"audit"}, args...), strings.NewReader(""), new(strings.Builder), &errs, func(name string) string { return environment[name] }); code != exitFailed {
			t.Errorf("%v: status %d", args, code)
		}
		return errs.String()
	}
	if errs := auditLog(nil, "verify"); !strings.Contains(errs, "stanch.db") || !strings.Contains(errs, "STANCH_DATABASE_URL") {
		t.Errorf("no database: %q", errs)
	}
	if errs := auditLog(nil, "verify", "export"); !strings.Contains(errs, "say stanch audit verify") {
		t.Errorf("two words: %q", errs)
	}
	path, _ := audited(t, 1)
	at := map[string]string{"STANCH_DATABASE_URL": "sqlite:" + path}
	if errs := auditLog(at, "export"); !strings.Contains(errs, "master key") {
		t.Errorf("no key: %q", errs)
	}
	if _, err := os.Stat(strings.TrimSuffix(path, ".db") + ".key"); err == nil {
		t.Error("a key was made")
	}
	at["STANCH_KEY"] = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{4}, 32))
	if errs := auditLog(at, "verify"); !strings.Contains(errs, "another master key") {
		t.Errorf("another key: %q", errs)
	}
}
