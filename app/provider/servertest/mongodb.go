package servertest

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// MongoDB is a server that speaks MongoDB's protocol. FerretDB keeps its users and their
// passwords and lets them in, with the real exchange. MongoDB itself is in no package. What
// FerretDB does not do is done before it, as MongoDB's manual has it: see mongoFront.
type MongoDB struct {
	Port, SecuredPort string
	front             mongoFront
	before            atomic.Pointer[func(db, command string) bson.D]

	bossOnce   sync.Once
	bossClient *mongo.Client
}

// StartMongoDB starts one, with the user "boss" of the database admin, who may do all.
func StartMongoDB(t *testing.T, authority Authority) *MongoDB {
	t.Helper()
	ferret := Program(t, "ferretdb", "in none; .ci/run builds it")
	upstream := "127.0.0.1:" + FreePort(t)
	cmd := exec.Command(ferret, "--handler=sqlite", "--sqlite-url=file:./", "--state-dir=.", "--listen-addr="+upstream, "--debug-addr=-", "--telemetry=disable",
		"--log-level=error", "--test-enable-new-auth", "--setup-database=admin", "--setup-username=boss", "--setup-password="+AdminPassword)
	cmd.Dir, cmd.Env = Scratch(t), append(cmd.Environ(), "GOTRACEBACK=none") // a signal ends it
	Start(t, cmd, func() bool {
		conn, err := net.Dial("tcp", upstream)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	s := &MongoDB{}
	s.Before(func(string, string) bson.D { return nil })
	s.front = mongoFront{upstream: upstream, users: map[string]*mongoAccount{"admin.boss": {roles: []MongoRole{{"root", "admin"}}}}, roles: map[MongoRole]*mongoRole{}}
	s.Port = s.listen(t, nil)
	s.SecuredPort = s.listen(t, authority.Config)
	return s
}

// Before has a function hear each command, with the database, before it is carried out,
// unless the function says something in place of that.
func (s *MongoDB) Before(hear func(db, command string) bson.D) { s.before.Store(&hear) }

func (s *MongoDB) listen(t *testing.T, secured *tls.Config) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	if secured != nil {
		listener = tls.NewListener(listener, secured)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(client)
		}
	}()
	return port
}

// serve answers what is asked on one connection. With it goes one to FerretDB, which
// knows who logged in there.
func (s *MongoDB) serve(client net.Conn) {
	defer client.Close()
	up, err := net.Dial("tcp", s.front.upstream)
	if err != nil {
		return
	}
	defer up.Close()
	c := &mongoConn{front: &s.front, up: up, from: client.RemoteAddr()}
	for {
		m, err := ReadMongo(client)
		if err != nil {
			return
		}
		var answer []byte
		if says := (*s.before.Load())(m.db(), m.command()); says != nil {
			answer = m.Answered(says)
		} else if answer, err = c.answer(m); err != nil {
			return
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

// The kinds of messages of MongoDB's protocol. Before OP_MSG there was OP_QUERY, with
// which clients still begin:
// https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
const (
	mongoReply = 1
	mongoQuery = 2004
	mongoMsg   = 2013
)

// A MongoMessage is a command, or an answer.
type MongoMessage struct {
	ID    uint32
	Query bool // asked, and to be answered, as in old times
	Body  bson.Raw
	whole []byte
}

// ReadMongo reads one message.
func ReadMongo(from io.Reader) (m MongoMessage, err error) {
	header := make([]byte, 16)
	if _, err := io.ReadFull(from, header); err != nil {
		return m, err
	}
	size := binary.LittleEndian.Uint32(header)
	if size < 16+5 || size > 1<<24 {
		return m, fmt.Errorf("a message of %d bytes", size)
	}
	m.whole = append(header, make([]byte, size-16)...)
	if _, err := io.ReadFull(from, m.whole[16:]); err != nil {
		return m, err
	}
	m.ID = binary.LittleEndian.Uint32(header[4:])
	body := m.whole[16:]
	switch kind := binary.LittleEndian.Uint32(header[12:]); kind {
	case mongoMsg:
		m.Body = body[5:]
	case mongoReply:
		m.Query, m.Body = true, body[min(20, len(body)):]
	case mongoQuery:
		m.Query = true
		for n, b := range body[4:] {
			if b == 0 { // ends the name of the collection; two numbers follow
				m.Body = body[min(4+n+1+8, len(body)):]
				break
			}
		}
	default:
		return m, fmt.Errorf("a message of kind %d", kind)
	}
	return m, m.Body.Validate()
}

// Answered is the message that answers m.
func (m MongoMessage) Answered(body any) []byte {
	document, err := bson.Marshal(body)
	if err != nil {
		panic(err) // of what a test made itself
	}
	kind, before := uint32(mongoMsg), make([]byte, 5)
	if m.Query {
		kind, before = mongoReply, make([]byte, 20)
		before[16] = 1 // one document
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(16+len(before)+len(document)))
	for _, n := range []uint32{1, m.ID, kind} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return append(append(out, before...), document...)
}

func (m MongoMessage) command() string {
	elements, err := m.Body.Elements()
	if err != nil || len(elements) == 0 {
		return ""
	}
	return elements[0].Key()
}

// name is what a command is about: its first value, where that is a text.
func (m MongoMessage) name() string {
	text, _ := m.Body.Lookup(m.command()).StringValueOK()
	return text
}

func (m MongoMessage) db() string {
	text, _ := m.Body.Lookup("$db").StringValueOK()
	return text
}

// A MongoFault is what a server says in place of an answer.
func MongoFault(code int32, text string) bson.D {
	return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: code}, {Key: "errmsg", Value: text}}
}
