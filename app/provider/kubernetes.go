package provider

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// kubernetes verifies service account tokens at the cluster that the operator names,
// by asking it whose token it is, which everybody may whom it lets in:
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/self-subject-review-v1/
// A token that has expired is dead in every cluster, and none need be asked.
type kubernetes struct {
	web *web
	now func() time.Time
}

const (
	selfSubjectReviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	selfSubjectReview  = `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
)

func (*kubernetes) ready(*rules.Rule) string { return "" }

func (k *kubernetes) host(*rules.Rule, checks.Credential) string { return k.web.operator["kubernetes"] }

func (k *kubernetes) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: Evidence{Request: "read the token", At: k.now()}}
	claims, ok := parseClaims(cred.Secret().Expose())
	if ok {
		verdict.Evidence.Identity = claims.identity()
	}
	base := k.web.operator["kubernetes"]
	switch {
	case ok && claims.expired(k.now()):
		verdict.Validity, verdict.Grade, verdict.Reason = checks.Inactive, GradeB, ""
		verdict.Evidence.Answer, verdict.Evidence.Control = "it has expired", computed
		return verdict, nil
	case base == "":
		verdict.Evidence.Answer = "no cluster to ask: STANCH_PROVIDER_URLS can name yours, kubernetes:https://…"
		return verdict, nil
	}
	verdict.Evidence.Request = "POST " + base + selfSubjectReviews
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+selfSubjectReviews, strings.NewReader(selfSubjectReview))
	value, fits := inHeader(cred.Secret().Expose())
	if err != nil || !fits {
		verdict.Evidence.Answer = "no request can be made of the token"
		return verdict, nil
	}
	req.Header.Set("Authorization", "Bearer "+value)
	req.Header.Set("Content-Type", "application/json")
	verdict.reviewed(exchange(k.web.trusted, req))
	return verdict, nil
}

// reviewed reads the cluster's answer. A token belongs to one cluster, so that what
// this one refuses may be another's.
func (v *Verdict) reviewed(r reply) {
	v.Reason, v.Evidence.Status, v.Evidence.Answer = "", r.status, r.answer()
	kind, _ := r.field("kind")
	said, _ := r.field("reason")
	user, _ := r.field("status.userInfo.username")
	uid, _ := r.field("status.userInfo.uid")
	switch {
	case r.fault != "":
	case r.status == http.StatusCreated && kind == "SelfSubjectReview" && user != "" && user != "system:anonymous":
		v.Validity, v.Evidence.Answer = checks.Active, "201 with identity"
		v.Evidence.Identity = shortened(map[string]string{"user": user, "uid": uid, "expires": v.Evidence.Identity["expires"]})
	case r.status == http.StatusForbidden && kind == "Status" && said == "Forbidden":
		v.Validity, v.LacksScope, v.Evidence.Answer = checks.Active, true, "403 Forbidden, after it was let in"
		v.Evidence.Identity = nil // what the token says of itself is not the cluster's word
	case r.status == http.StatusUnauthorized && kind == "Status" && said == "Unauthorized":
		v.Validity, v.SelfHosted, v.Evidence.Answer = checks.Inactive, true, "401 Unauthorized"
	}
}
