package secretstore

import "slices"

// A podTemplate is what is looked at of a workload's pods.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
type podTemplate struct {
	Metadata metadata `json:"metadata"`
	Spec     podSpec  `json:"spec"`
}

type podSpec struct {
	InitContainers   []container `json:"initContainers"`
	Containers       []container `json:"containers"`
	Volumes          []volume    `json:"volumes"`
	ImagePullSecrets []named     `json:"imagePullSecrets"`
}

type named struct {
	Name string `json:"name"`
}

type container struct {
	EnvFrom []struct {
		SecretRef named `json:"secretRef"`
	} `json:"envFrom"`
	Env []struct {
		ValueFrom struct {
			SecretKeyRef struct {
				Name string `json:"name"`
				Key  string `json:"key"`
			} `json:"secretKeyRef"`
		} `json:"valueFrom"`
	} `json:"env"`
	VolumeMounts []struct {
		Name        string `json:"name"`
		SubPath     string `json:"subPath"`
		SubPathExpr string `json:"subPathExpr"`
	} `json:"volumeMounts"`
}

type volume struct {
	Name   string `json:"name"`
	Secret *struct {
		Name  string     `json:"secretName"`
		Items []volumeIn `json:"items"`
	} `json:"secret"`
	Projected struct {
		Sources []struct {
			Secret *struct {
				Name  string     `json:"name"`
				Items []volumeIn `json:"items"`
			} `json:"secret"`
		} `json:"sources"`
	} `json:"projected"`
}

type volumeIn struct {
	Key string `json:"key"`
}

// reads says how pods read a field of a secret, and whether they do so only when they
// start: variables never change, nor do files that are mounted one by one.
func (p podSpec) reads(secret, field string) (by string, atStart bool) {
	containers := slices.Concat(p.InitContainers, p.Containers)
	for _, c := range containers {
		if c.hasVariable(secret, field) {
			return "environment", true
		}
	}
	for _, v := range p.Volumes {
		if !v.holds(secret, field) {
			continue
		}
		by = "files"
		for _, c := range containers {
			for _, m := range c.VolumeMounts {
				atStart = atStart || m.Name == v.Name && m.SubPath+m.SubPathExpr != ""
			}
		}
	}
	if by == "" && slices.Contains(p.ImagePullSecrets, named{secret}) {
		by = "image pulls" // a node asks for the secret each time
	}
	return by, atStart
}

func (c container) hasVariable(secret, field string) bool {
	for _, from := range c.EnvFrom {
		if from.SecretRef.Name == secret {
			return true
		}
	}
	for _, e := range c.Env {
		if ref := e.ValueFrom.SecretKeyRef; ref.Name == secret && ref.Key == field {
			return true
		}
	}
	return false
}

// holds reports whether a volume has the field of the secret as a file.
func (v volume) holds(secret, field string) bool {
	has := func(name string, items []volumeIn) bool {
		return name == secret && (len(items) == 0 || slices.Contains(items, volumeIn{field}))
	}
	if v.Secret != nil && has(v.Secret.Name, v.Secret.Items) {
		return true
	}
	for _, source := range v.Projected.Sources {
		if source.Secret != nil && has(source.Secret.Name, source.Secret.Items) {
			return true
		}
	}
	return false
}
