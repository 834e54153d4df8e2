package app_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

// TestDeployKeyIsRotated: a leaked private key is a deploy key of another repository; its
// replacement is let in there, stored, and then the leaked one is taken away.
func TestDeployKeyIsRotated(t *testing.T) {
	w := newWorld(t, worldOptions{tamper: func(_ *world, cfg *app.Config) { cfg.Providers.DeployKeyRepos = []string{"acme/shop", "acme/infra"} }})
	w.must(w.github.Allow(w.self.ID, "administration", "write"))
	_, err := w.github.CreateRepository("acme", "infra", githubtest.RepoOptions{Private: true})
	w.must(err)
	newKey := func() (private, public string) {
		_, key, err := ed25519.GenerateKey(nil)
		w.must(err)
		block, err := ssh.MarshalPrivateKey(key, "")
		w.must(err)
		signer, err := ssh.NewSignerFromKey(key)
		w.must(err)
		return strings.TrimSpace(string(pem.EncodeToMemory(block))), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	}
	leaked, public := newKey()
	_, other := newKey()
	for _, key := range []githubtest.DeployKey{{Title: "other", Key: other}, {Title: "deploy", Key: public, ReadOnly: true}} {
		_, err := w.github.SetDeployKey("acme/infra", key)
		w.must(err)
	}
	at := secretstore.Location{Store: w.secrets.Name(), Path: "infra", Field: "key"}
	_, err = w.secrets.Put(t.Context(), at, map[string]checks.Secret{"key": checks.NewSecret(leaked)}, "test")
	w.must(err)
	g := w.seeded()
	head := w.leak(g, "leak", "id_deploy", leaked+"\n")
	w.check(head, "tells that it is dead", func(r githubtest.CheckRun) bool { return strings.Contains(r.Title, "dead") })
	now, err := w.secrets.Get(t.Context(), at)
	w.must(err)
	stored, err := ssh.ParsePrivateKey([]byte(now.Fields["key"].Expose()))
	w.must(err)
	keys := w.github.DeployKeys("acme/infra")
	if len(keys) != 2 || keys[0].Key != other || keys[1].Key != strings.TrimSpace(string(ssh.MarshalAuthorizedKey(stored.PublicKey()))) || !keys[1].ReadOnly {
		t.Errorf("deploy keys: %+v", keys)
	}
	w.findNone(leaked)
}
