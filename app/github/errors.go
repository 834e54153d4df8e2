package github

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_primary_ratelimit"
	gh "github.com/google/go-github/v62/github"
)

const (
	// secondaryWait is the least to wait when GitHub limits without saying for
	// how long.
	// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
	secondaryWait = time.Minute

	// maxWait is the length of GitHub's primary window: nothing needs longer.
	// Source: the same page, "requests per hour".
	maxWait = time.Hour
)

// The errors that callers branch on. All else, such as an answer 502 or a
// broken connection, is worth another try.
var (
	// ErrGone means that the installation was removed or suspended: nothing
	// can be done there any more.
	ErrGone = errors.New("the App is no longer installed there, or is suspended")
	// ErrNotFound means that the thing does not exist, or that the installation
	// may not see it; GitHub does not tell which.
	ErrNotFound = errors.New("not found on GitHub, or not among the installation's repositories")
	// ErrForbidden means that the installation lacks a permission.
	ErrForbidden = errors.New("GitHub forbids it; see that the App has the permission and that the installation's owner accepted it")
	// ErrInvalid means that GitHub understood and will not: the same request will
	// never do.
	ErrInvalid = errors.New("GitHub refuses the request as it is")
	// ErrNoCommit means that GitHub knows no commit of that name, such as that of
	// a tagged file. No check run can stand on it.
	ErrNoCommit = errors.New("no such commit on GitHub")
	// ErrUnauthorized means that GitHub did not accept who we say we are.
	ErrUnauthorized = errors.New("GitHub refused the App's credentials; check the App id, its private key and this machine's clock")
	// ErrCommentsClosed means that nobody can comment there: the conversation
	// is locked, or comments are disabled.
	ErrCommentsClosed = errors.New("comments are closed")
)

// RateLimited says that GitHub wants no request from this installation for a
// while. Nothing was done; try the job again after RetryAfter.
type RateLimited struct {
	RetryAfter time.Duration
	// Reserved says that there is something left, for what somebody waits for.
	Reserved bool
}

// Error implements error.
func (e *RateLimited) Error() string {
	if e.Reserved {
		return fmt.Sprintf("the rest of GitHub's rate limit is left to what somebody waits for; try again in %s", e.RetryAfter.Round(time.Second))
	}
	return fmt.Sprintf("GitHub's rate limit is reached; try again in %s", e.RetryAfter.Round(time.Second))
}

// classify turns the many errors of the layers below into this package's.
func classify(err error) error {
	var (
		token     *ghinstallation.HTTPError
		prevented *github_primary_ratelimit.RateLimitReachedError
		primary   *gh.RateLimitError
		secondary *gh.AbuseRateLimitError
		refused   *gh.ErrorResponse
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &token) && token.Response != nil:
		return tokenRefusal(token.Response, err)
	case errors.As(err, &prevented):
		// The limiter drops the answer without closing it.
		prevented.Response.Body.Close()
		return limited(prevented.Response.Header, *prevented.ResetTime)
	case errors.As(err, &primary):
		return limited(primary.Response.Header, primary.Rate.Reset.Time)
	case errors.As(err, &secondary):
		return limited(secondary.Response.Header, after(secondary.RetryAfter))
	case errors.As(err, &refused) && strings.Contains(refused.Message, "suspended"):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case errors.As(err, &refused) && strings.HasPrefix(refused.Message, "No commit found for SHA"):
		return fmt.Errorf("%w: %w", ErrNoCommit, err)
	case errors.As(err, &refused):
		return classifyResponse(refused.Response, err)
	}
	return err
}

// classifyResponse judges a refusal by its status and headers alone.
func classifyResponse(resp *http.Response, err error) error {
	tooMany := resp.StatusCode == http.StatusTooManyRequests
	forbidden := resp.StatusCode == http.StatusForbidden
	switch {
	case tooMany, forbidden && (retryAfter(resp.Header) > 0 || primaryLimit(resp.Header)):
		return limited(resp.Header, resetTime(resp.Header))
	case forbidden:
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case resp.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	return err
}

// limited says how long to wait, in the order that GitHub documents: what
// Retry-After says; else until reset; else a minute.
func limited(h http.Header, reset time.Time) error {
	wait := retryAfter(h)
	if wait == 0 {
		wait = time.Until(reset)
	}
	if wait <= 0 {
		wait = secondaryWait
	}
	return &RateLimited{RetryAfter: min(wait, maxWait)}
}

// after is the time d from now, or the zero time without a d.
func after(d *time.Duration) time.Time {
	if d == nil {
		return time.Time{}
	}
	return time.Now().Add(*d)
}

// retryAfter is what the header Retry-After asks for, 0 if nothing usable.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32)
	if err != nil || seconds <= 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// primaryLimit reports whether the hour's requests are used up.
func primaryLimit(h http.Header) bool { return h.Get("X-RateLimit-Remaining") == "0" }

// resetTime is when a used-up primary limit is renewed; for any other limit it
// is the zero time, because the header then speaks of something else.
func resetTime(h http.Header) time.Time {
	seconds, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || !primaryLimit(h) {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
