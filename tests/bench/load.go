// Load client of the benchmark: keeps N connections busy with the requests in a file. It writes
// HTTP/1.1 by hand, so that it costs little compared to what it measures.
//
//	load -address HOST:PORT -clients N -requests FILE [-repeat R]
//	load -serve BYTES
//
// Each line of FILE has a path, Accept, User-Agent and the SHA-256 of the body (or "-"), separated
// by tabs. Prints one JSON object, which counts each response with another status than 200, with a
// truncated body or with another hash as wrong. -serve answers every request with BYTES bytes on a
// port that it prints, to measure the limits of the client itself.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type request struct {
	words  []byte
	sha256 string
}

type answer struct {
	status int
	bytes  int64
	took   time.Duration
	wrong  string
}

type client struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

func (c *client) ask(r request) answer {
	begun := time.Now()
	var got answer
	kept := c.conn != nil
	err := c.try(r, &got)
	if err != nil && kept && got.bytes == 0 && got.status == 0 { // a kept connection that was closed
		err = c.try(r, &got)
	}
	if err != nil {
		got.wrong = err.Error()
		c.close()
	}
	got.took = time.Since(begun)
	return got
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *client) try(r request, got *answer) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, 10*time.Second)
		if err != nil {
			return err
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 256*1024)
	}
	c.conn.SetDeadline(time.Now().Add(120 * time.Second))
	if _, err := c.conn.Write(r.words); err != nil {
		c.close()
		return err
	}
	line, err := c.reader.ReadString('\n')
	if err != nil {
		c.close()
		return err
	}
	if len(line) < 12 {
		return fmt.Errorf("no status line: %q", line)
	}
	got.status, _ = strconv.Atoi(line[9:12])
	length, chunked, closes := int64(-1), false, false
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "content-length":
			length, _ = strconv.ParseInt(value, 10, 64)
		case "transfer-encoding":
			chunked = strings.EqualFold(value, "chunked")
		case "connection":
			closes = strings.EqualFold(value, "close")
		}
	}
	var digest hash.Hash
	var sink io.Writer = io.Discard
	if r.sha256 != "-" {
		digest = sha256.New()
		sink = digest
	}
	switch {
	case chunked:
		err = c.chunks(sink, got)
	case length >= 0:
		got.bytes, err = io.CopyN(sink, c.reader, length)
	default:
		got.bytes, err = io.Copy(sink, c.reader)
		closes = true
	}
	if err != nil {
		return err
	}
	if closes {
		c.close()
	}
	if got.status != 200 {
		return fmt.Errorf("status %d", got.status)
	}
	if digest != nil && hex.EncodeToString(digest.Sum(nil)) != r.sha256 {
		return fmt.Errorf("wrong bytes")
	}
	return nil
}

func (c *client) chunks(sink io.Writer, got *answer) error {
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return err
		}
		n, err := io.CopyN(sink, c.reader, size)
		got.bytes += n
		if err != nil {
			return err
		}
		if _, err := c.reader.Discard(2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

func read(path, address string) []request {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	var found []request
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		part := strings.Split(line, "\t")
		words := "GET " + part[0] + " HTTP/1.1\r\nHost: " + address + "\r\nAccept: " + part[1] +
			"\r\nUser-Agent: " + part[2] + "\r\nAccept-Encoding: gzip\r\n\r\n"
		found = append(found, request{[]byte(words), part[3]})
	}
	return found
}

func serve(size int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
	content := append([]byte(head), make([]byte, size)...)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			words := make([]byte, 64*1024)
			for {
				if _, err := conn.Read(words); err != nil {
					return
				}
				if _, err := conn.Write(content); err != nil {
					return
				}
			}
		}()
	}
}

func main() {
	address := flag.String("address", "", "host:port")
	clients := flag.Int("clients", 1, "connections at once")
	file := flag.String("requests", "", "one request a line")
	repeat := flag.Int("repeat", 1, "how often all of them")
	size := flag.Int("serve", -1, "answer with so many bytes")
	flag.Parse()
	if *size >= 0 {
		serve(*size)
		return
	}
	wanted := read(*file, *address)
	total := int64(len(wanted) * *repeat)
	answers := make([]answer, total)
	var next atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for range *clients {
		all.Add(1)
		go func() {
			defer all.Done()
			c := client{address: *address}
			defer c.close()
			for {
				n := next.Add(1) - 1
				if n >= total {
					return
				}
				answers[n] = c.ask(wanted[n%int64(len(wanted))])
			}
		}()
	}
	all.Wait()
	seconds := time.Since(begun).Seconds()
	wrong, bytes := map[string]int{}, int64(0)
	took := make([]float64, total)
	for n, one := range answers {
		bytes += one.bytes
		took[n] = float64(one.took.Microseconds()) / 1000
		if one.wrong != "" {
			wrong[one.wrong]++
		}
	}
	sort.Float64s(took)
	at := func(share float64) float64 { return took[int(share*float64(total-1))] }
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": total, "wrong": wrong, "bytes": bytes, "seconds": seconds,
		"p50": at(0.5), "p95": at(0.95), "max": at(1),
	})
}
