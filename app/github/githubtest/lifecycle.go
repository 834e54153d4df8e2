package githubtest

import (
	"fmt"
	"maps"
	"path"
	"strings"
	"time"
)

// Rename gives a repository another name, as its owner does in the settings. The
// old name leads nowhere: GitHub would redirect until somebody takes it.
func (s *Server) Rename(fullName, name string) (string, error) {
	return s.rename(fullName, "renamed", object{"repository": object{"name": object{"from": path.Base(fullName)}}},
		func(r *repository) { r.name = name })
}

// Transfer gives a repository to another account.
func (s *Server) Transfer(fullName, owner string) (string, error) {
	return s.rename(fullName, "transferred", object{"owner": object{"from": object{}}},
		func(r *repository) { r.owner = s.account(owner, "Organization") })
}

func (s *Server) rename(fullName, action string, changes object, change func(*repository)) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(fullName)
	if err != nil {
		return "", err
	}
	old := key(repo.fullName())
	change(repo)
	if s.repositories[key(repo.fullName())] != nil {
		return "", fmt.Errorf("%s %s: %s exists", action, fullName, repo.fullName())
	}
	delete(s.repositories, old)
	s.repositories[key(repo.fullName())] = repo
	for _, run := range s.checkRuns {
		if run.repo == repo {
			run.Repository = repo.fullName()
		}
	}
	s.sendAbout(repo, "repository", object{"action": action, "changes": changes})
	return repo.fullName(), nil
}

// SetPrivate hides a repository from the public, or shows it.
func (s *Server) SetPrivate(fullName string, private bool) error {
	action := map[bool]string{true: "privatized", false: "publicized"}[private]
	return s.alter(fullName, action, nil, func(r *repository) { r.private = private })
}

// SetDefaultBranch makes another branch the default one.
func (s *Server) SetDefaultBranch(fullName, branch string) error {
	repo, err := s.lookUp(fullName)
	if err != nil {
		return err
	}
	changes := object{"default_branch": object{"from": repo.defaultBranch}}
	return s.alter(fullName, "edited", changes, func(r *repository) { r.defaultBranch = branch })
}

// lookUp finds a repository for who does not hold the lock.
func (s *Server) lookUp(fullName string) (*repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repository(fullName)
}

func (s *Server) alter(fullName, action string, changes object, change func(*repository)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(fullName)
	if err != nil {
		return err
	}
	change(repo)
	payload := object{"action": action}
	if changes != nil {
		payload["changes"] = changes
	}
	s.sendAbout(repo, "repository", payload)
	return nil
}

// DeleteRepository deletes a repository. Pull requests from it stay, without a
// head repository.
func (s *Server) DeleteRepository(repository string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	s.sendAbout(repo, "repository", object{"action": "deleted"})
	repo.deleted = true
	delete(s.repositories, key(repo.fullName()))
	return nil
}

// Suspend suspends an installation, or ends that: meanwhile it gets no tokens.
func (s *Server) Suspend(id int64, suspended bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.installations[id]
	if i == nil {
		return fmt.Errorf("suspend installation %d: there is no such one", id)
	}
	if !suspended {
		i.suspended = time.Time{}
		s.sendInstallation(i, "unsuspend")
		return nil
	}
	i.suspended = s.now()
	for _, t := range s.tokens {
		t.dead = t.dead || t.installation == i
	}
	s.sendInstallation(i, "suspend")
	return nil
}

// AcceptPermissions tells the App that its new permissions were accepted.
func (s *Server) AcceptPermissions(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.installations[id]
	if i == nil {
		return fmt.Errorf("accept the permissions of installation %d: there is no such one", id)
	}
	s.sendInstallation(i, "new_permissions_accepted")
	return nil
}

// Grant lets an installation see more repositories, all of which are named, and
// Withdraw fewer.
func (s *Server) Grant(id int64, repositories ...string) error {
	return s.regrant(id, "added", repositories)
}

// Withdraw takes repositories out of an installation.
func (s *Server) Withdraw(id int64, repositories ...string) error {
	return s.regrant(id, "removed", repositories)
}

func (s *Server) regrant(id int64, action string, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.installations[id]
	if i == nil {
		return fmt.Errorf("change installation %d: there is no such one", id)
	}
	if i.repositories == nil {
		i.repositories = map[int64]bool{}
		for _, repo := range s.repositories {
			i.repositories[repo.id] = true
		}
	}
	changed := []object{}
	for _, name := range names {
		repo, err := s.repository(name)
		if err != nil {
			return err
		}
		i.repositories[repo.id] = action == "added"
		changed = append(changed, repo.brief())
	}
	payload := object{
		"action": action, "installation": i.json(s), "sender": i.account.simple(s), "repository_selection": i.selection(),
		"repositories_added": []object{}, "repositories_removed": []object{}, "requester": nil,
	}
	payload["repositories_"+action] = changed
	s.send(i.app, i, nil, "installation_repositories", payload)
	return nil
}

// brief is a repository as events about installations name it.
func (r *repository) brief() object {
	return object{"id": r.id, "node_id": r.nodeID(), "name": r.name, "full_name": r.fullName(), "private": r.private}
}

// RerequestSuite sends what GitHub sends when somebody presses "Re-run all
// checks".
func (s *Server) RerequestSuite(checkRunID int64, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.checkRuns[checkRunID]
	if run == nil {
		return fmt.Errorf("re-run the suite of check run %d: there is no such one", checkRunID)
	}
	suite := run.suiteJSON(s)
	maps.Copy(suite, object{"latest_check_runs_count": 1, "check_runs_url": s.api("/repos/%s/check-suites/%d/check-runs", run.Repository, run.suite)})
	s.send(run.app, run.app.installedAt(run.repo), run.repo, "check_suite",
		object{"action": "rerequested", "check_suite": suite, "sender": s.account(login, "User").simple(s)})
	return nil
}

// queuePrefix is where a merge queue's branches are.
const queuePrefix = "refs/heads/gh-readonly-queue/"

// Enqueue puts a pull request into the merge queue of its base branch: the queue
// merges it into a branch of its own, and asks for the checks of that commit, whose
// name it returns.
func (s *Server) Enqueue(repository string, number int) (string, error) {
	repo, err := s.lookUp(repository)
	if err != nil {
		return "", err
	}
	repo.writing.Lock()
	defer repo.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := repo.pull(number)
	if p == nil || s.cfg.Enterprise {
		return "", fmt.Errorf("put pull request %d of %s into a queue: there is no such pull request, or no queue", number, repository)
	}
	before, err := s.git.refs(repo.dir)
	if err != nil {
		return "", err
	}
	base := before["refs/heads/"+p.baseRef]
	head, err := s.git.merge(repo.dir, base, p.headSHA)
	if err != nil {
		return "", err
	}
	ref := fmt.Sprintf("%s%s/pr-%d-%s", queuePrefix, p.baseRef, number, base)
	if _, err := s.git.run(repo.dir, "update-ref", ref, head); err != nil {
		return "", err
	}
	push := Push{Repository: repo.fullName(), Ref: ref, Before: zeros(before), After: head, Pusher: "github-merge-queue[bot]", At: s.now()}
	payload, err := s.pushPayload(repo, s.account(push.Pusher, "Bot"), before, push)
	if err != nil {
		return "", err
	}
	s.sendAbout(repo, "push", payload)
	s.sendGroup(repo, "checks_requested", p.baseRef, base, ref, head)
	return head, nil
}

// Dequeue takes a merge group away again, with its branch.
func (s *Server) Dequeue(repository, base, head string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	refs, err := s.git.refs(repo.dir)
	if err != nil {
		return err
	}
	for ref, sha := range refs {
		if sha != head || !strings.HasPrefix(ref, queuePrefix) {
			continue
		}
		if _, err := s.git.run(repo.dir, "update-ref", "-d", ref); err != nil {
			return err
		}
		s.sendGroup(repo, "destroyed", base, refs["refs/heads/"+base], ref, head)
		return nil
	}
	return fmt.Errorf("dequeue %s of %s: no group has it", head, repository)
}

// sendGroup tells the Apps of a merge group.
func (s *Server) sendGroup(repo *repository, action, baseRef, base, ref, head string) {
	commits, err := s.git.log(repo.dir, 1, head)
	if err != nil || len(commits) == 0 {
		s.log.Error("describe a merge group", "head", head, "error", err)
		return
	}
	payload := object{"action": action, "merge_group": object{
		"head_sha": head, "head_ref": ref, "base_sha": base, "base_ref": "refs/heads/" + baseRef,
		"head_commit": commits[0].json(s, repo, true),
	}}
	if action == "destroyed" {
		payload["reason"] = "dequeued"
	}
	s.sendAbout(repo, "merge_group", payload)
}
