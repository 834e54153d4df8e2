package store

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/store/postgrestest"
)

// A cable leads to a server, and can be cut.
type cable struct {
	to    string
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// newCable leads to the server of a URL, and returns the URL of its other end.
func newCable(t *testing.T, to string) (*cable, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{to: u.Host}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); c.set(true) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.connect(conn)
		}
	}()
	u.Host = l.Addr().String()
	return c, u.String()
}

func (c *cable) connect(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer to.Close()
	c.mu.Lock()
	cut := c.cut
	c.conns = append(c.conns, from, to)
	c.mu.Unlock()
	if cut {
		return
	}
	go io.Copy(to, from)
	io.Copy(from, to)
}

// set cuts the cable or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// TestReplicaIsCutOff: who cannot reach the database stops his jobs before others take
// them over, and runs them again when he can.
func TestReplicaIsCutOff(t *testing.T) {
	c, at := newCable(t, postgrestest.URL(t))
	s := openStore(t, at)
	t.Cleanup(func() { s.Close() })
	begun, ended := make(chan int, 10), make(chan time.Time, 10)
	start(t, s, func(ctx context.Context, job *river.Job[countArgs]) error {
		begun <- job.Attempt
		if job.Attempt == 1 {
			<-ctx.Done()
			ended <- time.Now()
			return ctx.Err()
		}
		return nil
	})
	inTx(t, s, func(tx *Tx) error { return tx.Enqueue(t.Context(), countArgs{1}) })
	<-begun
	cut := time.Now()
	c.set(true)
	select {
	case at := <-ended:
		t.Logf("the job was stopped %s after the cut", at.Sub(cut).Round(10*time.Millisecond))
		if at.Sub(cut) >= deadAfter {
			t.Errorf("others may have taken the job over before it was stopped, %s after the cut", at.Sub(cut))
		}
	case <-time.After(time.Minute):
		t.Fatal("the job goes on without a database")
	}
	c.set(false)
	mended := time.Now()
	select {
	case <-begun:
		t.Logf("it ran again %s after the end of the outage", time.Since(mended).Round(10*time.Millisecond))
	case <-time.After(time.Minute):
		t.Fatal("the job does not run again")
	}
	eventually(t, "the job's end", func() bool { return count(t, s, `select count(*) from river_job where state = 'completed'`) == 1 })
}
