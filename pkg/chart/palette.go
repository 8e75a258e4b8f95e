package chart

import (
	"fmt"
	"image/color"
	"math"
)

// Black is the colour of references and theory: near-black on white.
const Black = -1

// palette is Okabe and Ito's (2008) eight colours for colour-blind readers without black, the faint yellow last.
var palette = [...]color.RGBA{
	{0x00, 0x72, 0xB2, 255}, {0xD5, 0x5E, 0x00, 255}, {0x00, 0x9E, 0x73, 255}, {0xCC, 0x79, 0xA7, 255},
	{0xE6, 0x9F, 0x00, 255}, {0x56, 0xB4, 0xE9, 255}, {0xF0, 0xE4, 0x42, 255},
}

// ramp is ten points of the perceptually uniform viridis map (Smith and van der Walt 2015, CC0), from low to high.
var ramp = [...]color.RGBA{
	{0x44, 0x01, 0x54, 255}, {0x48, 0x28, 0x78, 255}, {0x3E, 0x4A, 0x89, 255}, {0x31, 0x68, 0x8E, 255}, {0x26, 0x82, 0x8E, 255},
	{0x1F, 0x9E, 0x89, 255}, {0x35, 0xB7, 0x79, 255}, {0x6D, 0xCD, 0x59, 255}, {0xB4, 0xDE, 0x2C, 255}, {0xFD, 0xE7, 0x25, 255},
}

const (
	orderedFirst = 1000 // colours from here on are steps along the ramp
	orderedSteps = 1000
)

var (
	black   = color.RGBA{0x22, 0x22, 0x22, 255}
	grey    = color.RGBA{0x77, 0x77, 0x77, 255}
	gridded = color.RGBA{0xE6, 0xE6, 0xE6, 255}
	missing = color.RGBA{0xE2, 0xE2, 0xE2, 255}
)

// Ordered returns the colour of series i of n that have an order, such as widths: from dark to light along the map's
// colours, without its palest end.
func Ordered(i, n int) int {
	if n < 2 {
		return orderedFirst
	}
	return orderedFirst + int(math.Round(.9*orderedSteps*float64(i)/float64(n-1)))
}

func validColor(c int) bool {
	return c >= Black && c < len(palette) || c >= orderedFirst && c <= orderedFirst+orderedSteps
}

func colorOf(c int) color.RGBA {
	switch {
	case c == Black:
		return black
	case c >= orderedFirst:
		return rampAt(float64(c-orderedFirst) / orderedSteps)
	}
	return palette[c]
}

// rampAt returns the map's colour at a position in 0..1, the nearest end outside.
func rampAt(position float64) color.RGBA {
	at := min(max(position, 0), 1) * float64(len(ramp)-1)
	i := min(int(at), len(ramp)-2)
	t := at - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a)*(1-t) + float64(b)*t)) }
	a, b := ramp[i], ramp[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }
