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
	text   []byte
	sha256 string
}

type response struct {
	status   int
	bytes    int64
	duration time.Duration
	failure  string
}

type client struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

func (c *client) send(r request) response {
	start := time.Now()
	var result response
	reused := c.conn != nil
	err := c.attempt(r, &result)
	if err != nil && reused && result.bytes == 0 && result.status == 0 { // the server had closed the connection
		err = c.attempt(r, &result)
	}
	if err != nil {
		result.failure = err.Error()
		c.close()
	}
	result.duration = time.Since(start)
	return result
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *client) attempt(r request, result *response) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, 10*time.Second)
		if err != nil {
			return err
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 256*1024)
	}
	c.conn.SetDeadline(time.Now().Add(120 * time.Second))
	if _, err := c.conn.Write(r.text); err != nil {
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
	result.status, _ = strconv.Atoi(line[9:12])
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
		err = c.readChunks(sink, result)
	case length >= 0:
		result.bytes, err = io.CopyN(sink, c.reader, length)
	default:
		result.bytes, err = io.Copy(sink, c.reader)
		closes = true
	}
	if err != nil {
		return err
	}
	if closes {
		c.close()
	}
	if result.status != 200 {
		return fmt.Errorf("status %d", result.status)
	}
	if digest != nil && hex.EncodeToString(digest.Sum(nil)) != r.sha256 {
		return fmt.Errorf("wrong bytes")
	}
	return nil
}

func (c *client) readChunks(sink io.Writer, result *response) error {
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
		result.bytes += n
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

func readRequests(path, address string) []request {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	var requests []request
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		fields := strings.Split(line, "\t")
		text := "GET " + fields[0] + " HTTP/1.1\r\nHost: " + address + "\r\nAccept: " + fields[1] +
			"\r\nUser-Agent: " + fields[2] + "\r\nAccept-Encoding: gzip\r\n\r\n"
		requests = append(requests, request{[]byte(text), fields[3]})
	}
	return requests
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
			buffer := make([]byte, 64*1024)
			for {
				if _, err := conn.Read(buffer); err != nil {
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
	clients := flag.Int("clients", 1, "number of connections")
	file := flag.String("requests", "", "file with a request on each line")
	repeat := flag.Int("repeat", 1, "how often to send all requests")
	size := flag.Int("serve", -1, "serve responses of this size")
	flag.Parse()
	if *size >= 0 {
		serve(*size)
		return
	}
	requests := readRequests(*file, *address)
	total := int64(len(requests) * *repeat)
	responses := make([]response, total)
	var next atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	for range *clients {
		running.Add(1)
		go func() {
			defer running.Done()
			c := client{address: *address}
			defer c.close()
			for {
				n := next.Add(1) - 1
				if n >= total {
					return
				}
				responses[n] = c.send(requests[n%int64(len(requests))])
			}
		}()
	}
	running.Wait()
	seconds := time.Since(start).Seconds()
	wrong, bytes := map[string]int{}, int64(0)
	milliseconds := make([]float64, total)
	for n, result := range responses {
		bytes += result.bytes
		milliseconds[n] = float64(result.duration.Microseconds()) / 1000
		if result.failure != "" {
			wrong[result.failure]++
		}
	}
	sort.Float64s(milliseconds)
	percentile := func(share float64) float64 { return milliseconds[int(share*float64(total-1))] }
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": total, "wrong": wrong, "bytes": bytes, "seconds": seconds,
		"p50": percentile(0.5), "p95": percentile(0.95), "max": percentile(1),
	})
}
