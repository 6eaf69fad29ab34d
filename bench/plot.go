package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The measures of the plot, in pixels.
const (
	labelWidth = 372
	panelWidth = 130
	panelGap   = 18
	rowHeight  = 22
	headHeight = 84
	footHeight = 44
)

// The axis is logarithmic, as ratios are.
const lowest, highest = 0.1, 25.0

var ticks = []float64{0.1, 0.3, 1, 3, 10}

// style has the colours for light and dark pages: the picture follows the
// reader's setting.
const style = `<style>
svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; --ink: #1f2328; --soft: #656d76; --line: #d0d7de; --ours: #0969da; --others: #bc4c00; --floor: #656d76; --back: #ffffff; }
@media (prefers-color-scheme: dark) {
svg { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --ours: #58a6ff; --others: #f0883e; --floor: #9198a1; --back: #0d1117; } }
.back { fill: var(--back) } text { fill: var(--ink) } .soft { fill: var(--soft); font-size: 11px } .title { font-size: 15px; font-weight: 600 } .op { font-size: 12px; font-weight: 600 }
line { stroke: var(--line) } .one { stroke: var(--soft) } .ours { stroke: var(--ours); fill: var(--ours) } .others { stroke: var(--others); fill: var(--others) } .floor { stroke: var(--floor); fill: var(--floor) }
.p99 { fill: none; stroke-width: 1.5 }
</style>
`

// plot draws a cell: a line for each contestant, a panel for each operation,
// in it a dot at the median and a ring at the p99.
func plot(c cell) string {
	ops, names := c.ops(), c.names()
	width := labelWidth + len(ops)*(panelWidth+panelGap)
	height := headHeight + len(names)*rowHeight + footHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString("Latency of session stores, "+c.title()))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d" rx="6"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="title" x="16" y="26">Latency as a multiple of the bare driver’s: %s</text>`+"\n", c.title())
	for i, name := range names {
		fmt.Fprintf(&b, `<text x="16" y="%d">%s</text>`+"\n", rowMiddle(i)+4, html.EscapeString(name))
	}
	for i, o := range ops {
		c.panel(&b, labelWidth+i*(panelWidth+panelGap), o, names)
	}
	fmt.Fprintf(&b, `<text class="soft" x="16" y="%d">dot: median; ring: p99, as a multiple of the p99 of the driver; logarithmic; less is better</text>`+"\n</svg>\n", height-14)
	return b.String()
}

func rowMiddle(i int) int { return headHeight + i*rowHeight + rowHeight/2 }

// panel draws one operation, with its left edge at x.
func (c cell) panel(b *strings.Builder, x int, o op, names []string) {
	bottom := headHeight + len(names)*rowHeight
	for i, line := range strings.Split(opTitle[o], ", ") {
		fmt.Fprintf(b, `<text class="op" x="%d" y="%d">%s</text>`+"\n", x, headHeight-30+15*i, line)
	}
	for _, tick := range ticks {
		class := ""
		if tick == 1 {
			class = ` class="one"`
		}
		at := float64(x) + place(tick)
		fmt.Fprintf(b, `<line%s x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, class, at, headHeight-6, at, bottom+4)
		fmt.Fprintf(b, `<text class="soft" text-anchor="middle" x="%.1f" y="%d">%g</text>`+"\n", at, bottom+17, tick)
	}
	for i, name := range names {
		r := c.row(name, o)
		if r == nil || r.Cannot != "" {
			continue
		}
		from, to, y := float64(x)+place(r.Median), float64(x)+place(r.P99), rowMiddle(i)
		fmt.Fprintf(b, `<g class="%s"><title>%s, %s: %s</title>`, classOf(r.Key), html.EscapeString(name), opTitle[o], r.latency())
		fmt.Fprintf(b, `<circle class="p99" cx="%.1f" cy="%d" r="4.5"/>`, to, y)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%d" r="4.5"/></g>`+"\n", from, y)
	}
}

// place returns how far to the right of a panel's edge a ratio is.
func place(ratio float64) float64 {
	bounded := min(max(ratio, lowest), highest)
	return panelWidth * math.Log(bounded/lowest) / math.Log(highest/lowest)
}

func classOf(key string) string {
	if key == floorKey || key == "upserts" {
		return "floor"
	}
	for _, c := range ours() {
		if c.key == key {
			return "ours"
		}
	}
	return "others"
}
