// Scaling simulates installations from one small site to 70,000 pages a minute and a billion
// stored pages, and says which of AWS's limits each comes up against first. Its output is the
// tables of docs/scaling.md, which a test holds against it:
//
//	go run ./bench/scaling
//
// What a page is asked for follows Zipf's law; when, a Poisson process, with crawlers that come
// in bursts over it. Whether a page is fresh, stale or missing when it is asked for follows from
// its own rate and its lifetimes. A day is computed; then the seconds of a busy hour are drawn
// one by one, for what is the most in any of them.
package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/insight"
)

func main() { write(os.Stdout) }

// scenario is what is asked for.
type scenario struct {
	name    string
	pages   float64 // that there are
	minute  float64 // requests, in the mean of a day
	regions int     // that share it
}

var scenarios = []scenario{
	{"a small site", 1_000, 10, 1},
	{"a shop", 100_000, 600, 1},
	{"a large shop", 2_000_000, 7_000, 1},
	{"a marketplace", 50_000_000, 30_000, 1},
	{"all of a group's sites", 1_000_000_000, 70_000, 1},
	{"the same in three regions", 1_000_000_000, 70_000, 3},
}

// What is assumed of pages and bots, beside the defaults of the template.
const (
	zipf      = 0.9                // of pages' popularity among bots, who also ask for what nobody reads
	fresh     = 24 * time.Hour     // FreshHours
	stale     = 7 * 24 * time.Hour // StaleHours
	peak      = 3.0                // the busiest hour by the mean
	burst     = 5.0                // a crawler's seconds by the hour's mean
	kilobytes = 20.0               // a page, compressed
	large     = 0.01               // share of pages over 390 kB, whose bodies are in S3
	largeKB   = 600.0              // one of these
	render    = 0.6                // seconds: a real site's page on Lambda, with its own network (an assumption; measure yours by `stillpage size`)
	renderGB  = 1769.0 / 1024      // RenderMemory
	router    = 0.02               // seconds of a hit
	waiting   = render + 2*router  // seconds that a router waits for a miss
	reads     = kilobytes / 4 / 2  // units of an eventually consistent read
	writes    = kilobytes + 1      // units of a page and its line in the index
	leases    = 2.0                // writes of a render: taken and given back (a beat every 2 s, of longer ones)
	limits    = 4.0                // writes of a render: the client's, the site's and the directory's buckets, a place
)

// AWS's limits, of one region and account (aws.amazon.com, June 2026).
const (
	lambdaDefault  = 1_000.0  // concurrent executions; more on request
	lambdaScale    = 1_000.0  // more of one function within 10 s
	partitionReads = 3_000.0  // units a second, of one item or partition
	partitionPuts  = 1_000.0  // units a second, of one item or partition
	tableDefault   = 40_000.0 // units a second of a table; more on request
	queueRate      = 9_000.0  // messages a second of a FIFO queue, high throughput, batched by none (by region 2,400 to 19,000)
	s3Gets         = 5_500.0  // a second and prefix
)

// day is what a scenario comes to in the mean second of a day.
type day struct {
	scenario
	hits, staleHits, misses float64 // a second
	renders                 float64 // of misses, and of what was stale
	stored                  float64 // pages at a time
	hottest                 float64 // requests a second for the first page
}

// simulate follows each page: one that is asked for λ times a second is made 1/(T+1/λ) times,
// where T is how long it is fresh. Pages of about the same rank are taken together.
func simulate(s scenario) day {
	d := day{scenario: s}
	rate := s.minute / 60 / float64(s.regions)
	sum := harmonic(1, s.pages)
	d.hottest = rate / sum
	for low := 1.0; low <= s.pages; {
		high := min(s.pages+1, math.Floor(low*1.05)+1)
		n := high - low
		each := rate * harmonic(low, high-1) / sum / n
		t, whole := fresh.Seconds(), (fresh + stale).Seconds()
		// Of the pauses between two requests for it, which are exponential, one is longer than
		// the time for which it is fresh, or for which it is kept.
		cycle := t + 1/each // between two renders
		missing := math.Exp(-each * (whole - t))
		d.renders += n / cycle
		d.misses += n / cycle * missing
		d.staleHits += n / cycle * (1 - missing)
		d.hits += n * (each - 1/cycle)
		d.stored += n * (1 - math.Exp(-each*whole))
		low = high
	}
	return d
}

// harmonic is the sum of n^-zipf from low to high, both included.
func harmonic(low, high float64) float64 {
	sum := 0.0
	for n := low; n <= high && n < 1000; n++ {
		sum += math.Pow(n, -zipf)
	}
	if high >= 1000 {
		from := max(low, 1000)
		integral := func(x float64) float64 { return math.Pow(x, 1-zipf) / (1 - zipf) }
		sum += integral(high+0.5) - integral(from-0.5)
	}
	return sum
}

// second is the most that any second of the busy hour has had.
type second struct {
	requests, renders, misses      float64
	routers, renderers             float64 // at once
	hottest                        float64 // reads of one page
	tableReads, tableWrites, queue float64
	siteBucket, s3                 float64
}

// busyHour draws 3,600 seconds: a Poisson number of requests each, five times as many while a
// crawler is at it, a fifth of the time.
func busyHour(d day) second {
	random := rand.New(rand.NewPCG(1, uint64(d.minute)))
	mean := d.minute / 60 / float64(d.regions)
	missShare, renderShare := d.misses/mean, d.renders/mean
	var most second
	for at := range 3600 {
		rate := mean * peak * 0.5 // half of it comes evenly
		if at%60 < 12 {
			rate += mean * peak * 0.5 * burst
		}
		requests := poisson(random, rate)
		misses := binomial(random, requests, missShare)
		behind := binomial(random, requests-misses, renderShare-missShare)
		renders := misses + mean*peak*(renderShare-missShare) // the queue evens out what nobody waits for
		hottest := binomial(random, requests, d.hottest/mean)
		s := second{
			requests: requests, renders: renders, misses: misses,
			routers: requests*router + misses*waiting, renderers: renders * render,
			hottest:     hottest * reads,
			tableReads:  requests*reads + renders*reads*2, // the renderer's are consistent
			tableWrites: renders * (writes + leases + limits), queue: behind,
			siteBucket: renders, s3: requests * large,
		}
		most.requests, most.renders, most.misses = max(most.requests, s.requests), max(most.renders, s.renders), max(most.misses, s.misses)
		most.routers, most.renderers = max(most.routers, s.routers), max(most.renderers, s.renderers)
		most.hottest, most.tableReads, most.tableWrites = max(most.hottest, s.hottest), max(most.tableReads, s.tableReads), max(most.tableWrites, s.tableWrites)
		most.queue, most.siteBucket, most.s3 = max(most.queue, s.queue), max(most.siteBucket, s.siteBucket), max(most.s3, s.s3)
	}
	return most
}

// poisson draws by Knuth's method, and where the mean is large, by the normal distribution.
func poisson(random *rand.Rand, mean float64) float64 {
	if mean > 50 {
		return max(0, math.Round(mean+math.Sqrt(mean)*random.NormFloat64()))
	}
	n, product, end := 0.0, random.Float64(), math.Exp(-mean)
	for product > end {
		n++
		product *= random.Float64()
	}
	return n
}

func binomial(random *rand.Rand, n, share float64) float64 {
	return min(n, poisson(random, n*max(0, share)))
}

// limit is one of AWS's, and what is done when it is met.
type limit struct {
	name string
	used float64 // of it, as a share
}

func limitsOf(s second) []limit {
	return []limit{
		{"Lambda, at once (1,000 an account)", (s.routers + s.renderers) / lambdaDefault},
		{"Lambda, growth (1,000 in 10 s)", max(s.routers, s.renderers) / lambdaScale},
		{"DynamoDB, one page's reads (3,000)", s.hottest / partitionReads},
		{"DynamoDB, the site's bucket (1,000)", s.siteBucket / partitionPuts},
		{"DynamoDB, the table's reads (40,000)", s.tableReads / tableDefault},
		{"DynamoDB, the table's writes (40,000)", s.tableWrites / tableDefault},
		{"SQS, messages (9,000)", s.queue / queueRate},
		{"S3, reads (5,500)", s.s3 / s3Gets},
	}
}

// month is what it costs, in dollars, of all regions.
type month struct{ functions, table, storage, queueAndS3, logs, total, perMillion float64 }

func costs(d day) month {
	p, seconds, regions := insight.USEast1, 730*3600.0, float64(d.regions)
	requests := d.minute / 60 / regions
	var m month
	m.functions = requests*(p.Invocation+router*0.5*p.GBSecond) + d.misses*waiting*0.5*p.GBSecond + d.renders*(p.Invocation+render*renderGB*p.GBSecond)
	m.table = (requests*reads+d.renders*reads*2)*p.Read + d.renders*(writes+leases+limits)*p.Write
	m.queueAndS3 = (d.renders-d.misses)*3*0.50/1e6 + d.renders*large*5/1e6 + requests*large*0.40/1e6
	m.logs = (requests*0.5*0.0000005 + d.renders*0.6*0.0000005) // kB of lines, $0.50 a GB
	m.functions, m.table, m.queueAndS3, m.logs = m.functions*seconds*regions, m.table*seconds*regions, m.queueAndS3*seconds*regions, m.logs*seconds*regions
	m.storage = regions * d.stored * ((1-large)*kilobytes*0.25 + large*largeKB*0.023) / 1e6
	m.total = m.functions + m.table + m.storage + m.queueAndS3 + m.logs
	m.perMillion = m.total / (d.minute * 60 * 730 / 1e6)
	return m
}

func write(w io.Writer) {
	table := func(head ...string) {
		fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	}
	fmt.Fprintln(w, "<!-- go run ./bench/scaling -->")
	table("", "pages", "requests a minute", "from the store", "renders a minute", "of them missed", "stored at a time")
	var days []day
	for _, s := range scenarios {
		d := simulate(s)
		days = append(days, d)
		all := d.hits + d.staleHits + d.misses
		fmt.Fprintf(w, "| %s | %s | %s | %.0f %% | %s | %s | %s |\n", s.name, count(s.pages), count(s.minute), 100*(d.hits+d.staleHits)/all,
			count(d.renders*60*float64(s.regions)), count(d.misses*60*float64(s.regions)), count(d.stored*float64(s.regions)))
	}
	fmt.Fprint(w, "\nThe most in a second of the busiest hour, in each region:\n\n")
	table("", "requests", "renders", "routers at once", "renderers at once", "reads of the first page", "writes of the table", "queued")
	for _, d := range days {
		s := busyHour(d)
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", d.name, count(s.requests), count(s.renders), count(math.Ceil(s.routers)), count(math.Ceil(s.renderers)),
			count(s.hottest), count(s.tableWrites), count(s.queue))
	}
	fmt.Fprint(w, "\nHow much of AWS's default limits that is, in percent; what breaks first is marked:\n\n")
	names := []string{""}
	for _, l := range limitsOf(second{}) {
		names = append(names, l.name)
	}
	table(names...)
	for _, d := range days {
		all := limitsOf(busyHour(d))
		first := 0
		for i, l := range all {
			if l.used > all[first].used {
				first = i
			}
		}
		fmt.Fprintf(w, "| %s |", d.name)
		for i, l := range all {
			mark := ""
			if i == first {
				mark = "**"
			}
			fmt.Fprintf(w, " %s%s%s |", mark, percent(l.used), mark)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\nDollars a month, of all regions (us-east-1, June 2026):\n\n")
	table("", "functions", "table", "stored pages", "queue and S3", "logs", "together", "for a million requests")
	for _, d := range days {
		m := costs(d)
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %.2f |\n", d.name, money(m.functions), money(m.table), money(m.storage), money(m.queueAndS3), money(m.logs), money(m.total), m.perMillion)
	}
	fmt.Fprintln(w, "<!-- end -->")
}

func percent(share float64) string {
	switch {
	case share < 0.001:
		return "0"
	case share < 0.1:
		return fmt.Sprintf("%.1f", 100*share)
	}
	return fmt.Sprintf("%.0f", 100*share)
}

func money(n float64) string {
	if n < 10 {
		return fmt.Sprintf("%.2f", n)
	}
	return count(n)
}

// count writes a number by thousands.
func count(n float64) string {
	switch {
	case n > 0 && n < 0.1:
		return "under 0.1"
	case n < 10 && n != math.Trunc(n):
		return fmt.Sprintf("%.1f", n)
	}
	text := fmt.Sprintf("%.0f", n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
