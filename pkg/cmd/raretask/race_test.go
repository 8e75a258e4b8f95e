//go:build race

package main

func init() { longest *= 10 }
