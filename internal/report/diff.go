package report

import "strings"

// Line is a line of the comparison. Mark is ' ' for both, '-' for what only a
// person sees, '+' for what only the bot gets.
type Line struct {
	Mark rune
	Text string
}

// Class names the line for the style sheet.
func (l Line) Class() string {
	switch l.Mark {
	case '-':
		return "person"
	case '+':
		return "bot"
	}
	return "both"
}

// mostLines bounds the comparison, which takes memory and time by its square.
const mostLines = 3000

// Diff compares two texts line by line, by their longest common subsequence.
func Diff(person, bot string) []Line {
	a, b := split(person), split(bot)
	// common[i][j] is how many lines a[i:] and b[j:] have in common.
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var lines []Line
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, Line{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, Line{'-', a[i]})
			i++
		default:
			lines = append(lines, Line{'+', b[j]})
			j++
		}
	}
	return lines
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	if len(lines) > mostLines {
		lines = append(lines[:mostLines:mostLines], "… (the rest is not compared)")
	}
	return lines
}
