package provider

import (
	"net"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
)

// mongoSays serves what pretends to be MongoDB, and says the same to every login.
func mongoSays(says bson.D) func(net.Conn) {
	return func(c net.Conn) {
		for {
			m, err := servertest.ReadMongo(c)
			if err != nil {
				return
			}
			answer := bson.D{{Key: "ok", Value: 1}, {Key: "isWritablePrimary", Value: true}, {Key: "ismaster", Value: true}, {Key: "helloOk", Value: true},
				{Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21}, {Key: "maxBsonObjectSize", Value: 1 << 24}, {Key: "maxMessageSizeBytes", Value: 48 << 20},
				{Key: "maxWriteBatchSize", Value: 1000}, {Key: "saslSupportedMechs", Value: bson.A{"SCRAM-SHA-256"}}}
			if _, err := m.Body.LookupErr("saslStart"); err == nil {
				answer = says
			}
			if _, err := c.Write(m.Answered(answer)); err != nil {
				return
			}
		}
	}
}

var mongoRefused = servertest.MongoFault(mongoAuthenticationFailed, "Authentication failed.")

func TestMongoDB(t *testing.T) {
	a := servertest.NewAuthority(t)
	server := servertest.StartMongoDB(t, a)
	server.Boss(t, "orders", bson.D{{Key: "createUser", Value: "shop"}, {Key: "pwd", Value: servertest.ShopPassword}, {Key: "roles", Value: []mongoRole{{"readWrite", "orders"}}}})
	plain, secured := "127.0.0.1:"+server.Port, "127.0.0.1:"+server.SecuredPort
	url := func(host, user, password, database, settings string) checks.Credential {
		escape := strings.NewReplacer("@", "%40", "/", "%2F", " ", "%20")
		return parts("mongodb-url", map[string]string{"scheme": "mongodb", "user": user, checks.PartSecret: escape.Replace(password), "host": host, "database": database, "settings": settings})
	}
	strict := newProviders(t, Config{VerifyHosts: []string{secured}, VerifyRoots: a.Roots})
	lax := newProviders(t, Config{VerifyHosts: []string{"insecure://" + plain, "insecure://" + secured}})
	t.Run("live", func(t *testing.T) {
		v := ask(t, strict, url(secured, "shop", servertest.ShopPassword, "orders", ""), checks.Active, GradeA)
		if got := v.Evidence.Identity; got["username"] != "shop" || got["database"] != "orders" || got["roles"] != "readWrite@orders" {
			t.Errorf("identity %v", got)
		}
		ask(t, lax, url("other.example.net,"+plain, "shop", servertest.ShopPassword, "orders", "retryWrites=true"), checks.Active, GradeA)
		ask(t, lax, url(plain, "boss", servertest.AdminPassword, "orders", "authSource=admin"), checks.Active, GradeA)
		ask(t, lax, url(plain, "boss", servertest.AdminPassword, "orders", ""), checks.Active, GradeA)
		ask(t, lax, url(plain, "boss", servertest.AdminPassword, "", ""), checks.Active, GradeA)
		ask(t, lax, url(secured, "boss", servertest.AdminPassword, "", "tls=true"), checks.Active, GradeA)
	})
	t.Run("dead", func(t *testing.T) {
		ask(t, strict, url(secured, "shop", "oldP4ssw0rd", "orders", ""), checks.Inactive, GradeB)
		ask(t, lax, url(plain, "nobody", "oldP4ssw0rd", "orders", ""), checks.Inactive, GradeB)
		ask(t, lax, url(plain, "boss", servertest.AdminPassword, "orders", "authSource=orders"), checks.Inactive, GradeB)
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
	other := servertest.MongoFault(mongoAtlas, "no SNI name sent")
	for name, says := range map[string]bson.D{"is content with nothing": done, "an error of nobody's": other} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			liesTo(t, "mongodb-url", mongoSays(says))
		})
	}
	atlas := servertest.MongoFault(mongoAtlas, "bad auth : authentication failed")
	for name, says := range map[string]bson.D{"refuses everybody": mongoRefused, "refuses everybody, as Atlas does": atlas} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := raw(t, mongoSays(says))
			ask(t, newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}}), account("mongodb-url", host), checks.Inactive, GradeB)
		})
	}
}
