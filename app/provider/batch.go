package provider

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const (
	// gatherFor is how long a command waits for others while there is plenty of room.
	gatherFor = 20 * time.Millisecond
	// gatherAtMost is how long it waits for its turn; who would wait longer comes again.
	gatherAtMost = 15 * time.Second
	// limitedFor is how long nothing is sent after a limit whose end is not told.
	limitedFor = time.Minute
	// unlimited is how often a host of the operator's is asked in any period.
	unlimited = 1_000_000
)

// Batches are those of all commands that are sent for many credentials at once, by where
// they go.
type batches struct {
	mu sync.Mutex
	to map[string]*batcher
}

// A batcher gathers credentials for one endpoint, and keeps its rate. The first half of
// what the rate allows goes out at once; with the other half the requests are spread, and
// carry the more credentials.
type batcher struct {
	now   func() time.Time
	times int
	in    time.Duration
	most  int
	send  func(context.Context, []checks.Secret) batchReply

	mu    sync.Mutex
	open  *sharedRequest // that still gathers
	sent  []time.Time    // the requests within the last period
	until time.Time      // nothing is sent: the endpoint said so
}

// A sharedRequest is one for several credentials.
type sharedRequest struct {
	secrets []checks.Secret
	done    chan struct{}
	replies map[checks.Secret]batchReply // once it is done
}

// A batchReply is what came of it for a credential.
type batchReply struct {
	evidence Evidence
	reply    reply
	err      error
}

// revokeTogether sends a command for this credential and for those that come at the same
// time. Who stops waiting does not take its credential back: that it shall die is decided.
func (w *web) revokeTogether(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	b, err := w.batcher(rule)
	if err != nil {
		return Receipt{}, err
	}
	joined, wait := b.join(t.Secret())
	if joined == nil {
		return Receipt{}, fmt.Errorf("revoke %s: not sent: %d such requests are taken in %s, and the next may go out in %s",
			rule.ID, b.times, b.in, wait.Round(time.Second))
	}
	select {
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("revoke %s: %w", rule.ID, ctx.Err())
	case <-joined.done:
	}
	got := joined.replies[t.Secret()]
	return receiptOf(rule, got.evidence, got.reply, got.err)
}

// batcher is the one of the endpoint that a rule's command goes to.
func (w *web) batcher(rule *rules.Rule) (*batcher, error) {
	base, _ := w.base(rule, rule.Revoke.Request)
	to := base + rule.Revoke.Request.Path
	w.batches.mu.Lock()
	defer w.batches.mu.Unlock()
	if b := w.batches.to[to]; b != nil {
		return b, nil
	}
	times, in, err := rules.ParseRate(rule.Revoke.Batch.Rate)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", rule.ID, err)
	}
	if _, own := w.operator[rule.Provider.Name]; own && !w.asksAsSomebody(rule) {
		times = unlimited // the rate is the public host's
	}
	b := &batcher{now: w.now, times: times, in: in, most: rule.Revoke.Batch.Most}
	b.send = func(ctx context.Context, secrets []checks.Secret) (r batchReply) {
		f := &filler{parts: map[string]checks.Secret{checks.PartSecret: secrets[0]}, batch: secrets}
		request := rule.Revoke.Request
		if w.asksAsSomebody(rule) {
			request = w.introduced(request, f)
		}
		r.evidence, r.reply, r.err = w.send(ctx, rule, request, f)
		return r
	}
	if w.batches.to == nil {
		w.batches.to = map[string]*batcher{}
	}
	w.batches.to[to] = b
	return b, nil
}

// join puts a credential into the batch that gathers, or into a new one; nil when it
// would wait too long.
func (b *batcher) join(secret checks.Secret) (joined *sharedRequest, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		if wait = b.wait(); wait > gatherAtMost {
			return nil, wait
		}
		b.open = &sharedRequest{done: make(chan struct{})}
		go b.run(b.open, wait)
	}
	joined = b.open
	joined.secrets = append(joined.secrets, secret)
	if len(joined.secrets) == b.most {
		b.open = nil
	}
	return joined, 0
}

// wait is how long the next request has to.
func (b *batcher) wait() time.Duration {
	now := b.now()
	for len(b.sent) > 0 && now.Sub(b.sent[0]) >= b.in {
		b.sent = b.sent[1:]
	}
	next := now.Add(gatherFor)
	if n := len(b.sent); n > 0 && n >= b.times/2 {
		next = b.sent[n-1].Add(b.in / time.Duration(b.times))
		if n >= b.times {
			next = b.sent[n-b.times].Add(b.in)
		}
	}
	if b.until.After(next) {
		next = b.until
	}
	return max(gatherFor, next.Sub(now))
}

// run sends a batch when its time has come.
func (b *batcher) run(one *sharedRequest, wait time.Duration) {
	time.Sleep(wait)
	b.mu.Lock()
	if b.open == one {
		b.open = nil
	}
	secrets := unique(one.secrets)
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	one.replies = map[checks.Secret]batchReply{}
	b.tell(ctx, secrets, one.replies)
	close(one.done)
}

// tell sends the command for some credentials. One that the endpoint does not like spoils
// it for all: each half is tried by itself.
func (b *batcher) tell(ctx context.Context, secrets []checks.Secret, replies map[checks.Secret]batchReply) {
	b.mu.Lock()
	b.sent = append(b.sent, b.now())
	b.mu.Unlock()
	got := b.send(ctx, secrets)
	b.learn(got.reply)
	if n := len(secrets); n > 1 && got.reply.status == http.StatusUnprocessableEntity {
		b.tell(ctx, secrets[:n/2], replies)
		b.tell(ctx, secrets[n/2:], replies)
		return
	}
	for _, secret := range secrets {
		replies[secret] = got
	}
}

// learn takes in that the endpoint wants to be left alone.
func (b *batcher) learn(r reply) {
	if r.status != http.StatusForbidden && r.status != http.StatusTooManyRequests {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = b.now().Add(max(limitedFor, min(longestWish, r.retryAfter(b.now()))))
}

func unique(secrets []checks.Secret) []checks.Secret {
	seen := map[checks.Secret]bool{}
	var all []checks.Secret
	for _, s := range secrets {
		if !seen[s] {
			all = append(all, s)
		}
		seen[s] = true
	}
	return all
}

// exposed are credentials as they stand in a request's body.
func exposed(secrets []checks.Secret) []any {
	all := make([]any, len(secrets))
	for i, s := range secrets {
		all[i] = s.Expose()
	}
	return all
}
