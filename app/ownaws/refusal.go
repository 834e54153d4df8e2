package ownaws

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/smithy-go"
)

// A RefusedError means that Stanch's own credentials may not do something.
type RefusedError struct {
	Action string // "iam:DeleteAccessKey"
	Said   string
}

// Error names the action, in the words of a policy.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("AWS does not let Stanch do %s: allow it in the policy of Stanch's own identity there; AWS said: %s", e.Action, e.Said)
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and the common
// errors of the other services.
var (
	refusals = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"}
	unknown  = []string{"InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure"}
)

// Code is what AWS calls an error, "" when the error is none of AWS's answers.
func Code(err error) string {
	var said smithy.APIError
	if errors.As(err, &said) {
		return said.ErrorCode()
	}
	return ""
}

// Refused reports whether Stanch may not do what it asked for.
func Refused(err error) bool { return slices.Contains(refusals, Code(err)) }

// Definite reports whether an error is an answer that says that nothing was done, and
// not one of a server in trouble, or none at all.
func Definite(err error) bool {
	var said smithy.APIError
	return errors.As(err, &said) && said.ErrorFault() != smithy.FaultServer && !temporary(said.ErrorCode()) && !slices.Contains(unserved, said.ErrorCode())
}

// unserved are the codes of a server in trouble that the SDK does not know for such.
var unserved = []string{"ServiceFailure", "InternalFailure", "InternalServiceError", "InternalError", "ServiceUnavailable", "UnknownError"}

func temporary(code string) bool {
	return strings.Contains(code, "Throttl") || code == "RequestLimitExceeded" || code == "TooManyRequestsException"
}

// Tell takes out of an error of the SDK what AWS said, and which action it said it of,
// in the words of a policy.
func Tell(err error) error {
	action := actionOf(err)
	var said smithy.APIError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &said):
		return fmt.Errorf("%s: no answer of AWS: %s", action, short(root(err).Error()))
	case Refused(err):
		return &RefusedError{Action: action, Said: short(said.ErrorMessage())}
	case slices.Contains(unknown, said.ErrorCode()):
		return fmt.Errorf("%s: AWS does not take Stanch's own credentials (%s): %s", action, short(said.ErrorCode()), short(said.ErrorMessage()))
	}
	return fmt.Errorf("%s: AWS answered %s: %s", action, short(said.ErrorCode()), short(said.ErrorMessage()))
}

// actionOf names an operation as policies do: "secretsmanager:PutSecretValue". It is
// the innermost one: who acts by a role is refused that first.
func actionOf(err error) string {
	action := "AWS"
	for err != nil {
		if op, ok := err.(*smithy.OperationError); ok {
			action = strings.ToLower(strings.ReplaceAll(op.ServiceID, " ", "")) + ":" + op.OperationName
		}
		err = errors.Unwrap(err)
	}
	return action
}

func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// longest bounds what is told of an answer.
const longest = 300

// short keeps of a text what fits into a line.
func short(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
