// Package ownaws is Stanch's own door to AWS: with whose credentials it acts there, in
// which account, and what AWS's refusals mean.
//
// The credentials are those that the AWS SDK finds: AWS_ACCESS_KEY_ID and its like,
// the files of AWS_PROFILE, the token file of a Kubernetes service account, or the role
// of the machine. AWS_ENDPOINT_URL, AWS_CA_BUNDLE and the SDK's other variables are
// honoured.
package ownaws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	// answerWithin bounds one request, from the dial to the last byte.
	answerWithin = 10 * time.Second
	// attempts is how often a request is sent that may be sent again.
	attempts = 3
	// whoLasts is how long it is remembered who Stanch is: roles of machines are
	// exchanged while it runs.
	whoLasts = 10 * time.Minute
)

// A Config says how Stanch acts at AWS.
type Config struct {
	// Role is the name of the role that Stanch assumes in accounts other than its own,
	// the same in all of them. Without one it acts in its own account alone.
	Role string
	// Endpoint stands for all of AWS's own, when it is not empty.
	Endpoint string
	// Proxy is what AWS is reached through, if anything; the addresses that only this
	// machine has, such as that of the metadata service, are dialled directly.
	Proxy *url.URL
}

// An Identity is who acts.
type Identity struct {
	Account, Partition, ARN string
	KeyID                   string // of the access key in use
}

// ErrOtherAccount means that something is in an account in which Stanch may not act.
var ErrOtherAccount = errors.New("it is in another AWS account than Stanch's own")

// A Caller acts at AWS as Stanch. It asks for nothing before it is used.
type Caller struct {
	cfg Config

	mu       sync.Mutex
	base     *aws.Config
	who      Identity
	asked    time.Time
	accounts map[string]aws.CredentialsProvider // of roles that were assumed
}

// New returns a Caller.
func New(cfg Config) *Caller {
	return &Caller{cfg: cfg, accounts: map[string]aws.CredentialsProvider{}}
}

// HomeRegion is where the services of a partition are that have no region of their
// own, such as IAM, and where what they did is logged:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
func HomeRegion(partition string) string {
	switch partition {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	return "us-east-1"
}

// Region is the configuration of clients that act in Stanch's own account, in a region.
func (c *Caller) Region(ctx context.Context, region string) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load(ctx, region)
}

// load reads the SDK's settings once they can be read.
func (c *Caller) load(ctx context.Context, region string) (aws.Config, error) {
	if c.base == nil {
		client := awshttp.NewBuildableClient().WithTimeout(answerWithin).WithTransportOptions(c.reach)
		loaded, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithRetryMaxAttempts(attempts), config.WithAppID("stanch"))
		if err != nil {
			return aws.Config{}, fmt.Errorf("the settings of the AWS SDK cannot be read: %w", err)
		}
		if c.cfg.Endpoint != "" {
			loaded.BaseEndpoint = &c.cfg.Endpoint
		}
		loaded.HTTPClient = withoutRedirects(loaded.HTTPClient)
		c.base = &loaded
	}
	cfg := c.base.Copy()
	cfg.Region = region
	return cfg, nil
}

func (c *Caller) reach(t *http.Transport) {
	if c.cfg.Proxy == nil {
		return // the SDK's own way: HTTPS_PROXY and NO_PROXY
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if ip := net.ParseIP(req.URL.Hostname()); ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsPrivate()) {
			return nil, nil
		}
		return c.cfg.Proxy, nil
	}
}

// withoutRedirects is a client that takes no request elsewhere: the token of a session
// would go along.
func withoutRedirects(client aws.HTTPClient) aws.HTTPClient {
	b, ok := client.(*awshttp.BuildableClient)
	if !ok {
		return client
	}
	return &http.Client{
		Transport: b.GetTransport(), Timeout: b.GetTimeout(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Who asks AWS who Stanch is there.
func (c *Caller) Who(ctx context.Context) (Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ask(ctx)
}

func (c *Caller) ask(ctx context.Context) (Identity, error) {
	if time.Since(c.asked) < whoLasts {
		return c.who, nil
	}
	cfg, err := c.load(ctx, "")
	if err != nil {
		return Identity{}, err
	}
	if cfg.Region = c.base.Region; cfg.Region == "" {
		cfg.Region = HomeRegion("aws")
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("who Stanch is at AWS is not known: %w", Tell(err))
	}
	keys, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return Identity{}, fmt.Errorf("read Stanch's own AWS credentials: %w", Tell(err))
	}
	at := Identity{Account: aws.ToString(who.Account), ARN: aws.ToString(who.Arn), KeyID: keys.AccessKeyID}
	if at.Partition = partitionOf(at.ARN); at.Account == "" || at.Partition == "" {
		return Identity{}, errors.New("who Stanch is at AWS is not known: sts:GetCallerIdentity answered without an identity")
	}
	c.who, c.asked = at, time.Now()
	return at, nil
}

func partitionOf(arn string) string {
	fields := strings.Split(arn, ":")
	if len(fields) < 6 || fields[0] != "arn" {
		return ""
	}
	return fields[1]
}

// Account is the configuration of clients that act in an account, by the role of
// Config where it is not Stanch's own. The account "" is Stanch's own.
func (c *Caller) Account(ctx context.Context, account string) (aws.Config, Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	who, err := c.ask(ctx)
	if err != nil {
		return aws.Config{}, who, err
	}
	cfg, err := c.load(ctx, HomeRegion(who.Partition))
	if err != nil || account == "" || account == who.Account {
		return cfg, who, err
	}
	if c.cfg.Role == "" {
		return cfg, who, fmt.Errorf("%w: that is %s, and this is %s: let a role there be assumed, and name it in STANCH_AWS_ROLE", ErrOtherAccount, who.Account, account)
	}
	if c.accounts[account] == nil {
		role := fmt.Sprintf("arn:%s:iam::%s:role/%s", who.Partition, account, c.cfg.Role)
		c.accounts[account] = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "stanch" }))
	}
	cfg.Credentials = c.accounts[account]
	return cfg, who, nil
}
