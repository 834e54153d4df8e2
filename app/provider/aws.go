package provider

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// amazon verifies the access keys of AWS by asking STS whose they are, which needs
// no permission and which no policy can deny:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
// The request is signed with the secret and does not carry it.
type amazon struct {
	web      *web // whose base URLs and clients are used
	own      *accessKeys
	public   []awsPartition
	accounts []string
	engine   *awsEngine
	pause    time.Duration
	now      func() time.Time
}

// An awsPartition is an AWS of its own: the keys of one are unknown in another.
type awsPartition struct{ base, region string }

// https://docs.aws.amazon.com/general/latest/gr/sts.html
var awsPartitions = []awsPartition{
	{"https://sts.amazonaws.com", "us-east-1"},
	{"https://sts.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
	{"https://sts.cn-north-1.amazonaws.com.cn", "cn-north-1"},
}

const (
	// awsEach bounds the question to one partition.
	awsEach = 3 * time.Second
	// awsPause is how long after a question about a key STS takes another secret of
	// the same key for what it is; asked sooner it may say that a right one is wrong.
	awsPause = 6 * time.Second
)

// What STS says of a key:
// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
const (
	awsNoKey       = "InvalidClientTokenId" // inactive, deleted, or of another partition
	awsExpired     = "ExpiredToken"
	awsThrottled   = "Throttling"
	awsWrongSecret = "SignatureDoesNotMatch"
	// The same code says that the clocks differ.
	awsWrongSecretText = "The request signature we calculated does not match"
)

// awsCanaries are accounts whose keys are traps: who uses one rings a bell. Of
// canarytokens.org and of others, as https://trufflesecurity.com/blog/canaries tells.
var awsCanaries = []string{
	"052310077262", "171436882533", "266735846894", "534261010715", "595918472158", "717712589309", "730335385048", "819147034852",
	"893192397702", "992382622183",
	"044858866125", "251535659677", "344043088457", "351906852752", "390477818340", "426127672474", "427150556519", "439872796651",
	"445142720921", "465867158099", "637958123769", "693412236332", "732624840810", "735421457923", "959235150393", "982842642351",
}

// awsAccount reads the account out of a key's id, "" where it is not in it, which it
// is not in the ids of before 2019.
func awsAccount(id string) string {
	if len(id) != 20 || strings.HasPrefix(id, "AKIAI") || strings.HasPrefix(id, "AKIAJ") {
		return ""
	}
	raw, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%012d", binary.BigEndian.Uint64(raw)<<1>>24)
}

func (a *amazon) ready(*rules.Rule) string { return "" }

func (a *amazon) host(*rules.Rule, checks.Credential) string { return a.partitions()[0].base }

func (a *amazon) tell(*rules.Rule) Calls {
	return Calls{Verify: "sts:GetCallerIdentity at " + a.partitions()[0].base}
}

// partitions are those to ask, or what the operator named in their place.
func (a *amazon) partitions() []awsPartition {
	if base, ok := a.web.operator["aws"]; ok {
		return []awsPartition{{base, awsPartitions[0].region}}
	}
	return a.public
}

// random returns a key that does not exist, of the same account. A wrong secret of
// the key itself would make STS doubt the right one for a while.
func (a *amazon) random(cred checks.Credential) checks.Credential {
	id := cred.Parts["id"].Expose()
	tail := make([]byte, 5)
	rand.Read(tail)
	const head = len("AKIA") + 9 // with the account's bits
	if len(id) > head {
		cred.Parts["id"] = checks.NewSecret("AKIA" + id[len("AKIA"):head] + base32.StdEncoding.EncodeToString(tail)[:len(id)-head])
	}
	delete(cred.Parts, "token")
	return cred
}

// verify asks each partition until one knows the key.
func (a *amazon) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: Evidence{Request: "sts:GetCallerIdentity", At: a.now()}}
	account := awsAccount(cred.Parts["id"].Expose())
	if account != "" {
		verdict.Evidence.Identity = map[string]string{"account": account}
	}
	if why := a.leaveAlone(cred, account); why != "" {
		verdict.Reason, verdict.Evidence.Answer = ReasonNotAsked, why
		return verdict, nil
	}
	for n, partition := range a.partitions() {
		said := a.ask(ctx, partition, cred, account)
		switch {
		case said.Validity == checks.Active, n == 0:
			verdict = said
		case said.Validity == checks.Unknown && verdict.Validity == checks.Inactive:
			verdict.SelfHosted = true // another partition could not be asked
			verdict.Evidence.Answer += "; " + partition.region + ": " + said.Evidence.Answer
		}
		if verdict.Validity != checks.Inactive {
			break
		}
	}
	if verdict.Validity == checks.Active && temporary(cred) {
		a.own.judgeSession(ctx, cred, &verdict)
	}
	if verdict.Validity == checks.Active {
		a.engine.sign(ctx, cred, &verdict)
	}
	return verdict, nil
}

// temporary reports whether a key is one of a session, which ends by itself.
func temporary(cred checks.Credential) bool {
	return strings.HasPrefix(cred.Parts["id"].Expose(), "ASIA")
}

// leaveAlone says why nobody asks about a key.
func (a *amazon) leaveAlone(cred checks.Credential, account string) string {
	switch {
	case slices.Contains(awsCanaries, account):
		return "not asked: the account is known for keys that are traps"
	case len(a.accounts) > 0 && !slices.Contains(a.accounts, account):
		return "not asked: STANCH_AWS_ACCOUNTS does not name the account"
	case temporary(cred) && cred.Parts["token"].Len() == 0:
		return "not asked: without its session token a temporary key works nowhere"
	}
	return ""
}

// ask asks one partition, and asks again after a while when STS takes the secret for
// wrong.
func (a *amazon) ask(ctx context.Context, partition awsPartition, cred checks.Credential, account string) Verdict {
	verdict, err := a.callerIdentity(ctx, partition, cred, account)
	if wrongSecret(err) {
		select {
		case <-ctx.Done():
		case <-time.After(a.pause):
			verdict, err = a.callerIdentity(ctx, partition, cred, account)
		}
		if wrongSecret(err) {
			verdict.Validity, verdict.Reason = checks.Inactive, ""
			verdict.Evidence.Answer = awsWrongSecret + ": the access key exists, and this is not its secret"
		}
	}
	return verdict
}

func wrongSecret(err error) bool {
	var said smithy.APIError
	return errors.As(err, &said) && said.ErrorCode() == awsWrongSecret && strings.HasPrefix(said.ErrorMessage(), awsWrongSecretText)
}

func (a *amazon) callerIdentity(ctx context.Context, partition awsPartition, cred checks.Credential, account string) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, awsEach)
	defer cancel()
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: Evidence{Request: "sts:GetCallerIdentity at " + partition.base, At: a.now()}}
	if account != "" {
		verdict.Evidence.Identity = map[string]string{"account": account}
	}
	who, err := a.client(partition, cred).GetCallerIdentity(ctx, nil)
	switch {
	case err != nil:
		verdict.Validity, verdict.Reason, verdict.Evidence.Answer = awsRefusal(err)
	case aws.ToString(who.Account) == "" || aws.ToString(who.Arn) == "" || aws.ToString(who.UserId) == "":
		verdict.Reason, verdict.Evidence.Answer = ReasonUnfit, "an answer without identity"
	case account != "" && *who.Account != account:
		verdict.Reason, verdict.Evidence.Answer = ReasonUnfit, "the answer names another account than the key does"
	default:
		verdict.Validity, verdict.Evidence.Answer = checks.Active, "200 with identity"
		verdict.Evidence.Identity = shortened(map[string]string{"account": *who.Account, "arn": *who.Arn, "user_id": *who.UserId})
	}
	return verdict, err
}

// client signs with the leaked key and with nothing that Stanch's own environment
// holds; it tries once.
func (a *amazon) client(partition awsPartition, cred checks.Credential) *sts.Client {
	_, transport := a.web.baseOf("aws", "")
	return sts.New(sts.Options{
		Region:       partition.region,
		BaseEndpoint: &partition.base,
		HTTPClient:   limited{transport},
		Retryer:      aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     cred.Parts["id"].Expose(),
				SecretAccessKey: cred.Secret().Expose(),
				SessionToken:    cred.Parts["token"].Expose(),
			}, nil
		}),
	})
}

// awsRefusal reads what STS said in place of an identity. Errors of the SDK are told
// as a class, since they quote the answer.
func awsRefusal(err error) (checks.Validity, Reason, string) {
	var said smithy.APIError
	var broken *smithy.DeserializationError
	switch {
	case errors.As(err, &said) && (said.ErrorCode() == awsNoKey || said.ErrorCode() == awsExpired):
		return checks.Inactive, "", said.ErrorCode()
	case errors.As(err, &said) && said.ErrorCode() == awsThrottled:
		return checks.Unknown, ReasonLimited, said.ErrorCode()
	case errors.As(err, &said):
		return checks.Unknown, ReasonUnfit, short(said.ErrorCode()) + ", which says nothing about the key"
	case errors.As(err, &broken):
		return checks.Unknown, ReasonNoAnswer, "not the XML of STS"
	}
	return checks.Unknown, ReasonUnreachable, class(err)
}

// limited is a client that reads no more of an answer than it takes.
type limited struct{ *http.Client }

func (l limited) Do(req *http.Request) (*http.Response, error) {
	resp, err := l.Client.Do(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxBody), resp.Body}
	}
	return resp, err
}
