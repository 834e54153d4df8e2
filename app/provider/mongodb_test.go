package provider

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
)

// A mongoServer speaks enough of MongoDB's protocol for a login: OP_MSG, hello, and
// SCRAM-SHA-256 with the real exchange. MongoDB itself is not among Debian's packages.
type mongoServer struct {
	passwords map[string]string // of users, "database.user"
	says      bson.D            // to every login, in place of judging it
}

const opMsg = 2013

// mongoMessage reads the body of a message. Before OP_MSG there was OP_QUERY, which
// clients still begin with.
func mongoMessage(c io.Reader) (id uint32, old bool, body bson.M, err error) {
	header := make([]byte, 16)
	if _, err = io.ReadFull(c, header); err != nil {
		return 0, false, nil, err
	}
	rest := make([]byte, binary.LittleEndian.Uint32(header)-16)
	if _, err = io.ReadFull(c, rest); err != nil {
		return 0, false, nil, err
	}
	id = binary.LittleEndian.Uint32(header[4:])
	if old = binary.LittleEndian.Uint32(header[12:]) != opMsg; old {
		_, after, _ := strings.Cut(string(rest[4:]), "\x00")
		rest = []byte(after[8:])
	} else {
		rest = rest[5:]
	}
	return id, old, body, bson.Unmarshal(rest, &body)
}

func mongoReply(c io.Writer, to uint32, old bool, body any) {
	document, _ := bson.Marshal(body)
	message := binary.LittleEndian.AppendUint32(nil, uint32(16+5+len(document)))
	message = binary.LittleEndian.AppendUint32(message, 1)
	message = binary.LittleEndian.AppendUint32(message, to)
	if old { // OP_REPLY
		message = binary.LittleEndian.AppendUint32(message, 1)
		message = append(message, make([]byte, 4+8+4)...)
		message = binary.LittleEndian.AppendUint32(message, 1)
		binary.LittleEndian.PutUint32(message, uint32(36+len(document)))
	} else {
		message = binary.LittleEndian.AppendUint32(message, opMsg)
		message = append(message, 0, 0, 0, 0, 0)
	}
	c.Write(append(message, document...))
}

var mongoRefused = bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 18}, {Key: "codeName", Value: "AuthenticationFailed"}, {Key: "errmsg", Value: "Authentication failed."}}

func (s *mongoServer) serve(c net.Conn) {
	var talk *scram.ServerConversation
	user, source := "", ""
	for {
		id, old, command, err := mongoMessage(c)
		if err != nil {
			return
		}
		_, begins := command["saslStart"]
		_, goesOn := command["saslContinue"]
		_, status := command["connectionStatus"]
		switch {
		case begins && s.says != nil:
			mongoReply(c, id, old, s.says)
		case begins:
			source, _ = command["$db"].(string)
			talk = s.conversation(source, &user)
			s.step(c, id, old, talk, command)
		case goesOn:
			s.step(c, id, old, talk, command)
		case status:
			who := bson.A{bson.D{{Key: "user", Value: user}, {Key: "db", Value: source}}}
			roles := bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: "orders"}}}
			mongoReply(c, id, old, bson.D{{Key: "ok", Value: 1}, {Key: "authInfo", Value: bson.D{{Key: "authenticatedUsers", Value: who}, {Key: "authenticatedUserRoles", Value: roles}}}})
		default:
			hello := bson.D{{Key: "ok", Value: 1}, {Key: "isWritablePrimary", Value: true}, {Key: "ismaster", Value: true}, {Key: "helloOk", Value: true},
				{Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21}, {Key: "maxBsonObjectSize", Value: 1 << 24}, {Key: "maxMessageSizeBytes", Value: 48 << 20},
				{Key: "maxWriteBatchSize", Value: 1000}, {Key: "saslSupportedMechs", Value: bson.A{"SCRAM-SHA-256"}}}
			mongoReply(c, id, old, hello)
		}
	}
}

func (s *mongoServer) conversation(source string, user *string) *scram.ServerConversation {
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		password, ok := s.passwords[source+"."+name]
		if !ok {
			return scram.StoredCredentials{}, io.EOF
		}
		*user = name
		client, err := scram.SHA256.NewClient(name, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of a test", Iters: 4096})
	})
	if err != nil {
		return nil
	}
	return server.NewConversation()
}

func (s *mongoServer) step(c io.Writer, id uint32, old bool, talk *scram.ServerConversation, command bson.M) {
	payload, _ := command["payload"].(bson.Binary)
	if talk.Done() && talk.Valid() {
		mongoReply(c, id, old, bson.D{{Key: "ok", Value: 1}, {Key: "conversationId", Value: 1}, {Key: "done", Value: true}, {Key: "payload", Value: []byte{}}})
		return
	}
	said, err := talk.Step(string(payload.Data))
	if err != nil {
		mongoReply(c, id, old, mongoRefused)
		return
	}
	mongoReply(c, id, old, bson.D{{Key: "ok", Value: 1}, {Key: "conversationId", Value: 1}, {Key: "done", Value: talk.Done()}, {Key: "payload", Value: []byte(said)}})
}

func TestMongoDB(t *testing.T) {
	server := &mongoServer{passwords: map[string]string{"orders.shop": servertest.ShopPassword, "admin.root": servertest.AdminPassword}}
	a := servertest.NewAuthority(t)
	plain := raw(t, server.serve)
	secured := raw(t, func(c net.Conn) { server.serve(tls.Server(c, a.Config)) })
	url := func(host, user, password, database, settings string) checks.Credential {
		escape := strings.NewReplacer("@", "%40", "/", "%2F", " ", "%20")
		return parts("mongodb-url", map[string]string{"scheme": "mongodb", "user": user, checks.PartSecret: escape.Replace(password), "host": host, "database": database, "settings": settings})
	}
	strict := newProviders(t, Config{VerifyHosts: []string{secured}, VerifyRoots: a.Roots})
	lax := newProviders(t, Config{VerifyHosts: []string{"insecure://" + plain, "insecure://" + secured}})
	t.Run("live", func(t *testing.T) {
		v := ask(t, strict, url(secured, "shop", servertest.ShopPassword, "orders", ""), checks.Active, GradeA)
		if got := v.Evidence.Identity; got["user"] != "shop" || got["database"] != "orders" || got["roles"] != "readWrite@orders" {
			t.Errorf("identity %v", got)
		}
		ask(t, lax, url("other.example.net,"+plain, "shop", servertest.ShopPassword, "orders", "retryWrites=true"), checks.Active, GradeA)
		ask(t, lax, url(plain, "root", servertest.AdminPassword, "orders", "authSource=admin"), checks.Active, GradeA)
		ask(t, lax, url(plain, "root", servertest.AdminPassword, "orders", ""), checks.Active, GradeA)
		ask(t, lax, url(plain, "root", servertest.AdminPassword, "", ""), checks.Active, GradeA)
		ask(t, lax, url(secured, "root", servertest.AdminPassword, "", "tls=true"), checks.Active, GradeA)
	})
	t.Run("dead", func(t *testing.T) {
		ask(t, strict, url(secured, "shop", "oldP4ssw0rd", "orders", ""), checks.Inactive, GradeB)
		ask(t, lax, url(plain, "nobody", "oldP4ssw0rd", "orders", ""), checks.Inactive, GradeB)
		ask(t, lax, url(plain, "root", servertest.AdminPassword, "orders", "authSource=orders"), checks.Inactive, GradeB)
	})
	t.Run("a certificate of nobody's", func(t *testing.T) {
		p := newProviders(t, Config{VerifyHosts: []string{secured}})
		p.within = answerWithin / 5
		ask(t, p, url(secured, "shop", servertest.ShopPassword, "orders", ""), checks.Unknown, GradeC)
	})
	t.Run("a name of no domain", func(t *testing.T) {
		l := login{endpoint: endpoint{name: "localhost"}}
		if why := l.locate(t.Context()); why == "" || l.name != "localhost" {
			t.Errorf("found %v, %q", l, why)
		}
	})
}

func TestMongoDBLies(t *testing.T) {
	for name, say := range noise {
		t.Run(name, func(t *testing.T) { t.Parallel(); liesTo(t, "mongodb-url", say) })
	}
	done := bson.D{{Key: "ok", Value: 1}, {Key: "conversationId", Value: 1}, {Key: "done", Value: true}, {Key: "payload", Value: []byte("v=bm9uZQ==")}}
	other := bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 8000}, {Key: "errmsg", Value: "no SNI name sent"}}
	for name, says := range map[string]bson.D{"is content with nothing": done, "an error of nobody's": other} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			liesTo(t, "mongodb-url", (&mongoServer{says: says}).serve)
		})
	}
	atlas := bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: mongoAtlas}, {Key: "errmsg", Value: "bad auth : authentication failed"}}
	for name, says := range map[string]bson.D{"refuses everybody": mongoRefused, "refuses everybody, as Atlas does": atlas} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := raw(t, (&mongoServer{says: says}).serve)
			ask(t, newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}}), account("mongodb-url", host), checks.Inactive, GradeB)
		})
	}
}
