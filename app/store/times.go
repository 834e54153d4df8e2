package store

import (
	"context"
	"time"
)

// TimesToDead returns by rule how long after their push, or else their delivery,
// credentials were proved dead: those that were since a moment, and of these as many as
// most, the last ones. Those that were due, and had not leaked, do not count.
func (q queries) TimesToDead(ctx context.Context, since time.Time, most int) (map[string][]time.Duration, error) {
	type death struct {
		rule string
		took time.Duration
	}
	all, err := collect(q, ctx, func(row scanner) (d death, err error) {
		var leaked, dead int64
		err = row.Scan(&d.rule, &leaked, &dead)
		d.took = max(0, fromMicros(dead).Sub(fromMicros(leaked)))
		return d, err
	}, `select rule, case when pushed > 0 then pushed else received end, dead from incidents
		where dead > 0 and dead >= ? and approver <> 'schedule' and plan_order <> 'overlap' order by dead desc, id limit ?`, micros(since), most)
	times := map[string][]time.Duration{}
	for _, d := range all {
		times[d.rule] = append(times[d.rule], d.took)
	}
	return times, err
}
