package mongostore

import (
	"time"

	"github.com/mongostore/mongostore/internal/record"
)

// maxLifetime bounds how long a session lives: ten years.
const maxLifetime = record.MaxMaxAge * time.Second

// lifetimes are the settings that decide how long a session lives.
type lifetimes struct {
	ttl, max, touchAfter time.Duration
}

// of returns how long a session with this MaxAge, in seconds, lives after a Save.
func (l lifetimes) of(maxAge int) time.Duration {
	if maxAge <= 0 {
		return l.ttl
	}
	return time.Duration(min(maxAge, record.MaxMaxAge)) * time.Second
}

// deadline returns when a session that is saved now expires: after its lifetime, or at the absolute limit before that.
func (l lifetimes) deadline(now, createdAt time.Time, maxAge int) time.Time {
	deadline, limit := now.Add(l.of(maxAge)), createdAt.Add(l.max)
	if l.max > 0 && !createdAt.IsZero() && limit.Before(deadline) {
		return limit
	}
	return deadline
}

// live reports whether a record with this deadline and time of creation is valid now, deleted or not.
func (l lifetimes) live(expires, createdAt time.Time, split bool, now time.Time) bool {
	return expires.After(now) && !l.outlived(createdAt, split, now)
}

// outlived reports whether a record is past the absolute limit, which may be younger than the record. Without createdAt,
// one of a split token counts as past it, and one that Express made has no limit yet.
func (l lifetimes) outlived(createdAt time.Time, split bool, now time.Time) bool {
	if createdAt.IsZero() {
		return l.max > 0 && split
	}
	return l.max > 0 && !createdAt.Add(l.max).After(now)
}

// due reports whether an unchanged session should be written to move its deadline: that of the record, or that of the
// cookie, which no other change of the record reaches.
func (l lifetimes) due(expires, updatedAt, createdAt, deadline time.Time, maxAge int) bool {
	return l.worthMoving(expires, deadline, maxAge) ||
		!updatedAt.IsZero() && l.worthMoving(l.deadline(updatedAt, createdAt, maxAge), deadline, maxAge)
}

// worthMoving reports whether moving a deadline is worth a write.
func (l lifetimes) worthMoving(from, to time.Time, maxAge int) bool {
	moved := to.Sub(from).Abs()
	return moved > 0 && moved >= min(max(l.touchAfter, defaultTouchAfter), l.of(maxAge)/2)
}

// cookieMaxAge returns the Max-Age of a cookie for a session that expires at deadline. A positive one stays positive.
func cookieMaxAge(maxAge int, now, deadline time.Time) int {
	if maxAge <= 0 {
		return maxAge
	}
	return max(1, min(maxAge, seconds(deadline.Sub(now))))
}

// seconds rounds a duration up to whole seconds.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
