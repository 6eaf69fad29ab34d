package mongostore

import (
	"math"
	"time"
)

// maxLifetime is the longest life a session can have: more than ten years counts as ten.
const maxLifetime = 10 * 365 * 24 * time.Hour

const maxMaxAge = int(maxLifetime / time.Second)

// lifetimes are the settings that decide how long a session lives.
type lifetimes struct {
	ttl, max, touchAfter time.Duration
}

// of returns how long a session with this MaxAge (in seconds) lives after a Save.
func (l lifetimes) of(maxAge int) time.Duration {
	if maxAge <= 0 {
		return l.ttl
	}
	return time.Duration(min(maxAge, maxMaxAge)) * time.Second
}

// deadline returns when a session that is saved now expires: its lifetime from now on, but never later
// than its birth plus the absolute limit.
func (l lifetimes) deadline(now, createdAt time.Time, maxAge int) time.Time {
	deadline := now.Add(l.of(maxAge))
	if l.max > 0 && !createdAt.IsZero() {
		deadline = earlier(deadline, createdAt.Add(l.max))
	}
	return deadline
}

// live reports whether a record is valid now, whoever has or has not deleted it yet.
func (l lifetimes) live(rec *record, now time.Time) bool {
	return rec.expires.After(now) && !l.outlived(rec, now)
}

// outlived reports whether a record is past the absolute limit, which its deadline need not tell if the
// limit is younger than the record.
// A split token's record that lost its birth date counts as past it; one that Express made never had one, and
// gets it at its first write here.
func (l lifetimes) outlived(rec *record, now time.Time) bool {
	switch {
	case l.max == 0:
		return false
	case rec.createdAt.IsZero():
		return rec.token != nil
	}
	return !rec.createdAt.Add(l.max).After(now)
}

// worthTouching reports whether a session that did not change should be written to move its deadline from
// one moment to another, earlier ones included: a TTL that was shortened reaches sessions that are only read.
func (l lifetimes) worthTouching(from, to time.Time, maxAge int) bool {
	moved := to.Sub(from).Abs()
	return moved > 0 && moved >= min(max(l.touchAfter, defaultTouchAfter), l.of(maxAge)/2)
}

// cookieMaxAge returns the Max-Age of a cookie, in seconds, for a session that expires at deadline. It is
// rounded up and at least 1, because 0 would mean a cookie without a limit; 0 stays what it is.
func cookieMaxAge(maxAge int, now, deadline time.Time) int {
	if maxAge <= 0 {
		return maxAge
	}
	left := int(math.Ceil(deadline.Sub(now).Seconds()))
	return max(1, min(maxAge, left))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// seconds rounds a duration up to whole seconds.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
