package main

import (
	"fmt"
	"strings"
	"time"
)

// The plots are drawn in a box of this size, which the page stretches. The
// words beside them are HTML, so that they do not stretch with it.
const (
	plotWidth  = 600.0
	plotHeight = 120.0
	minSpan    = 30 // samples: a plot that has just begun leaves room at the left
)

// plot is a picture of samples over time, for the template plot.html.
type plot struct {
	Title, Note string
	Summary     string // what the picture shows, for who does not see it
	Max         int    // at the upper edge
	From, To    time.Time
	Line        string // points of an SVG polyline, "" for none
	Area        string // the same, closed at the bottom
	Bars        []bar
	Legend      bool

	slots, empty int // places for samples, and how many at the left have none
}

type bar struct {
	Kind                string // a class of the style sheet: loads, writes, ends
	X, Y, Width, Height string
}

// plotSessions draws the number of live sessions as a line. Where the database
// did not answer there is no point.
func plotSessions(samples []sample) plot {
	p := newPlot("Live sessions", samples)
	most, latest := int64(0), int64(-1)
	for _, s := range samples {
		most, latest = max(most, s.Sessions), s.Sessions
	}
	p.Max = roundUp(int(most))
	var points []string
	var first, end float64
	for i, s := range samples {
		if s.Sessions < 0 {
			continue
		}
		x, y := p.x(i), p.y(int(s.Sessions))
		if len(points) == 0 {
			first = x
		}
		end = x
		points = append(points, number(x)+","+number(y))
	}
	if len(points) > 1 {
		p.Line = strings.Join(points, " ")
		p.Area = fmt.Sprintf("%s,%s %s %s,%s", number(first), number(plotHeight), p.Line, number(end), number(plotHeight))
	}
	p.Note = "last " + p.span()
	p.Summary = fmt.Sprintf("Live sessions over the last %s: at most %d, %d at the end.", p.span(), most, max(latest, 0))
	if latest < 0 && len(samples) > 0 {
		p.Note = "the database does not answer"
	}
	return p
}

// plotOperations draws the operations between two samples as bars, one part
// upon the other.
func plotOperations(samples []sample) plot {
	p := newPlot("Operations", samples)
	most, sum := 0, 0
	for _, s := range samples {
		all := s.Loads + s.Writes + s.Ends
		most, sum = max(most, all), sum+all
	}
	p.Max, p.Legend = roundUp(most), true
	width := plotWidth / float64(p.slots)
	for i, s := range samples {
		below := 0
		for _, part := range []struct {
			kind  string
			count int
		}{{"loads", s.Loads}, {"writes", s.Writes}, {"ends", s.Ends}} {
			if part.count == 0 {
				continue
			}
			below += part.count
			p.Bars = append(p.Bars, bar{
				Kind: part.kind, X: number(p.x(i) - width*0.9), Y: number(p.y(below)),
				Width: number(width * 0.8), Height: number(plotHeight - p.y(part.count)),
			})
		}
	}
	p.Note = fmt.Sprintf("per %d seconds", int(sampleEvery.Seconds()))
	p.Summary = fmt.Sprintf("Operations over the last %s: %d, at most %d in %d seconds.", p.span(), sum, most, int(sampleEvery.Seconds()))
	return p
}

func newPlot(title string, samples []sample) plot {
	p := plot{Title: title, slots: max(len(samples), minSpan)}
	p.empty = p.slots - len(samples)
	if len(samples) > 0 {
		p.To = samples[len(samples)-1].At
		p.From = p.To.Add(-sampleEvery * time.Duration(p.slots))
	}
	return p
}

func (p plot) span() string {
	return plural(max(1, int(p.To.Sub(p.From).Round(time.Minute)/time.Minute)), "minute")
}

// x is where a sample ends, y the height of a value.
func (p plot) x(i int) float64 { return plotWidth * float64(p.empty+i+1) / float64(p.slots) }

func (p plot) y(value int) float64 { return plotHeight * (1 - float64(value)/float64(p.Max)) }

// roundUp returns the next of 5, 10, 20, 50, 100 and so on: a scale that stays
// when a value changes a little.
func roundUp(value int) int {
	for scale := 5; ; scale *= 10 {
		for _, step := range []int{scale, 2 * scale, 4 * scale} {
			if value <= step {
				return step
			}
		}
	}
}

func number(value float64) string { return fmt.Sprintf("%.1f", value) }
