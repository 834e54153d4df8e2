package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A Reaction is one account's answer to a comment by a picture.
type Reaction struct {
	Content string // one of reactionContents
	User    string
}

// reactionContents are the pictures that there are (REST API, "Create reaction for
// an issue comment").
var reactionContents = []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}

// createReaction answers 201 for a new reaction and 200 for one that the caller
// has made before.
func createReaction(c *call) (int, any, error) {
	found, err := c.comment()
	if err != nil {
		return 0, nil, err
	}
	var ask struct {
		Content string `json:"content"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	if !slices.Contains(reactionContents, ask.Content) {
		return 0, nil, invalidField("Reaction", "content", "content is not possible")
	}
	user := c.token.user
	if c.app != nil {
		user = c.app.bot
	}
	made, status := Reaction{ask.Content, user.login}, http.StatusOK
	if !slices.Contains(found.Reactions, made) {
		found.Reactions, status = append(found.Reactions, made), http.StatusCreated
	}
	return status, object{
		"id": found.ID<<8 + int64(slices.Index(found.Reactions, made)), "node_id": fmt.Sprintf("REA_%d_%s", found.ID, ask.Content),
		"user": user.simple(c.Server), "content": ask.Content, "created_at": c.now().UTC().Format(time.RFC3339),
	}, nil
}

// reactions counts the reactions to a comment, as they stand in it.
func (c *comment) reactions(url string) object {
	counted := reactions(url)
	for _, r := range c.Reactions {
		counted["total_count"] = counted["total_count"].(int) + 1
		counted[r.Content] = counted[r.Content].(int) + 1
	}
	return counted
}

// reactions is what nobody has reacted to.
func reactions(url string) object {
	none := object{"url": url, "total_count": 0}
	for _, content := range reactionContents {
		none[content] = 0
	}
	return none
}
