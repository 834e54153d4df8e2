package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// holdPause is how long who waits for what another replica holds waits at a time.
const holdPause = 50 * time.Millisecond

// Hold waits until nobody else holds the name, in whatever process, and holds it until
// release is called, or its replica is out. Only jobs hold something.
func (s *Store) Hold(ctx context.Context, name string) (release func(), err error) {
	unlock := s.held.lock(name)
	if !s.dialect.shared {
		return unlock, nil
	}
	id, ok := ctx.Value(replicaKey{}).(string)
	if !ok {
		unlock()
		return nil, errors.New("only a job can hold something that replicas share")
	}
	if err := s.holdAmongReplicas(ctx, name, id); err != nil {
		unlock()
		return nil, fmt.Errorf("hold %s: %w", name, err)
	}
	return func() {
		defer unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), silentAfter)
		defer cancel()
		if _, err := s.q.ExecContext(ctx, `delete from holds where name = ? and replica = ?`, name, id); err != nil {
			s.log.WarnContext(ctx, "what a job held is not given back: others wait for it until this replica needs it again, or ends", "name", name, "error", err)
		}
	}, nil
}

// holdAmongReplicas takes a name that no other replica holds. What this one holds
// already, it could not give back: keyedMutex says that none of its jobs has it.
func (s *Store) holdAmongReplicas(ctx context.Context, name, id string) error {
	for {
		res, err := s.q.ExecContext(ctx, `insert into holds (name, replica) values (?, ?)
			on conflict (name) do update set replica = excluded.replica where holds.replica = excluded.replica`, name, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		if !sleep(ctx, holdPause) {
			return ctx.Err()
		}
	}
}

// keyedMutex locks by name. Names are forgotten when nobody holds them.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*namedLock
}

type namedLock struct {
	sync.Mutex
	users int
}

func (k *keyedMutex) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*namedLock{}
	}
	l := k.locks[name]
	if l == nil {
		l = &namedLock{}
		k.locks[name] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, name)
		}
	}
}
