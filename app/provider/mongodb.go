package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/stanch-dev/stanch/checks"
)

// What MongoDB says to a wrong password:
// https://www.mongodb.com/docs/manual/reference/error-codes/ and, of Atlas, which has one
// code for all that its proxy refuses, https://www.mongodb.com/docs/atlas/troubleshoot-connection/
const (
	mongoAuthenticationFailed = 18
	mongoAtlas                = 8000
	mongoAtlasText            = "bad auth"
)

// tryMongoDB logs in at one MongoDB server. A user is of one database, by default the
// one that the URL names; where it does not say which, "admin" is tried too before the
// password is taken for wrong.
func tryMongoDB(ctx context.Context, l login) attempt {
	if l.scheme == "mongodb+srv" {
		if why := l.locate(ctx); why != "" {
			return unclear(ReasonUnreachable, why)
		}
	}
	source := l.settings["authsource"]
	a := tryMongoUser(ctx, l, cmp.Or(source, l.database, "admin"))
	if a.validity == checks.Inactive && source == "" && l.database != "" {
		a = tryMongoUser(ctx, l, "admin")
	}
	return a
}

// tryMongoUser logs in as a user of a database and asks who is connected, which
// everybody may:
// https://www.mongodb.com/docs/manual/reference/command/connectionStatus/
func tryMongoUser(ctx context.Context, l login, source string) attempt {
	client, status, err := greetMongo(ctx, l, source)
	if err != nil {
		return mongoRefusal(err)
	}
	defer hangUp(ctx, client)
	if len(status.AuthInfo.Users) == 0 {
		return unclear(ReasonUnfit, "logged in as nobody")
	}
	return attempt{validity: checks.Active, answer: "logged in, with identity", identity: status.identity()}
}

// greetMongo logs in and asks who is connected. A server that fails to answer is not
// waited for.
func greetMongo(ctx context.Context, l login, source string) (*mongo.Client, mongoStatus, error) {
	watched, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	o := mongoOptions(ctx, l, source)
	o.SetServerMonitor(&event.ServerMonitor{ServerHeartbeatFailed: func(e *event.ServerHeartbeatFailedEvent) { stop(e.Failure) }})
	var status mongoStatus
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, status, err
	}
	if err = client.Database("admin").RunCommand(watched, bson.D{{Key: "connectionStatus", Value: 1}}).Decode(&status); err == nil {
		return client, status, nil
	}
	if cause := context.Cause(watched); cause != nil && ctx.Err() == nil {
		if code, _ := mongoCode(err); code == 0 {
			err = cause
		}
	}
	hangUp(ctx, client) // as a heartbeat may end too
	return nil, status, err
}

func hangUp(ctx context.Context, client *mongo.Client) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	client.Disconnect(end)
}

// mongoStatus is the part of the answer that says who is connected.
type mongoStatus struct {
	AuthInfo struct {
		Users []struct{ User, DB string } `bson:"authenticatedUsers"`
		Roles []struct{ Role, DB string } `bson:"authenticatedUserRoles"`
	} `bson:"authInfo"`
}

func (s *mongoStatus) identity() map[string]string {
	var roles []string
	for _, r := range s.AuthInfo.Roles {
		roles = append(roles, r.Role+"@"+r.DB)
	}
	user := s.AuthInfo.Users[0]
	// Not "user", which would be whose it is: the replacement is another user's.
	return map[string]string{"username": user.User, "database": user.DB, "roles": strings.Join(roles, " ")}
}

// mongoOptions speaks to the one server, and not to those that it names as its peers
// or that its certificate names as who knows about it.
func mongoOptions(ctx context.Context, l login, source string) *options.ClientOptions {
	credential := options.Credential{Username: l.user, Password: l.password, PasswordSet: true, AuthSource: source}
	o := options.Client().SetHosts([]string{l.address()}).SetDirect(true).SetAuth(credential).SetAppName("stanch").
		SetDialer(mongoDialer{ctx, l.endpoint}).SetMaxPoolSize(1).SetRetryReads(false).SetReadPreference(readpref.Nearest()).
		SetServerMonitoringMode("poll").SetDisableOCSPEndpointCheck(true)
	if deadline, ok := ctx.Deadline(); ok {
		o.SetServerSelectionTimeout(time.Until(deadline))
	}
	if secured := l.scheme == "mongodb+srv" || l.settings["tls"] == "true" || l.settings["ssl"] == "true"; secured || !l.insecure {
		o.SetTLSConfig(l.tls())
	}
	return o
}

// A mongoDialer connects to the allowed server, whatever it is asked for.
type mongoDialer struct {
	ctx context.Context // ends with the question; the client's own may go on
	endpoint
}

func (d mongoDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	return d.dial(d.ctx)
}

// locate finds the server of a name that stands for several in DNS. As the official
// clients have it, it must be of the name's own domain:
// https://www.mongodb.com/docs/manual/reference/connection-string-formats/
func (l *login) locate(ctx context.Context) string {
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "mongodb", "tcp", l.name)
	if err != nil || len(records) == 0 {
		return "no such host"
	}
	_, domain, _ := strings.Cut(l.name, ".")
	target := canonical(records[0].Target)
	if !strings.Contains(domain, ".") || !strings.HasSuffix(target, "."+domain) {
		return "the name leads to a server of another domain"
	}
	l.name, l.port = target, fmt.Sprint(records[0].Port)
	return ""
}

// mongoCode is what the server said in place of an answer; zero when it said nothing.
func mongoCode(err error) (code int32, text string) {
	var said driver.Error
	var command mongo.CommandError
	switch {
	case errors.As(err, &said):
		return said.Code, said.Message
	case errors.As(err, &command):
		return command.Code, command.Message
	}
	return 0, ""
}

func mongoRefusal(err error) attempt {
	switch code, text := mongoCode(err); {
	case code == 0:
		return noAnswer(err)
	case code == mongoAuthenticationFailed, code == mongoAtlas && strings.HasPrefix(text, mongoAtlasText):
		return attempt{validity: checks.Inactive, answer: fmt.Sprintf("%d authentication failed", code)}
	default:
		return unclear(ReasonUnfit, fmt.Sprintf("%d which says nothing about the password", code))
	}
}
