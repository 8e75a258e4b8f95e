package sweep

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"raretask/pkg/results"
)

// WriteParquet writes the rows of all stacks that have results as one table and returns their number.
func (p *Plan) WriteParquet(to io.Writer) (int, error) {
	w, n := results.NewWriter(to), 0
	err := p.Rows(func(rows []results.Row) error {
		n += len(rows)
		_, err := w.Write(rows)
		return err
	})
	if err != nil {
		return n, err
	}
	return n, w.Close()
}

// WriteCSV is WriteParquet as comma-separated values; null is empty.
func (p *Plan) WriteCSV(to io.Writer) (int, error) {
	w, n := csv.NewWriter(to), 0
	if err := w.Write(results.ColumnNames()); err != nil {
		return 0, err
	}
	err := p.Rows(func(rows []results.Row) error {
		for _, row := range rows {
			if err := w.Write(fields(row)); err != nil {
				return err
			}
		}
		n += len(rows)
		return nil
	})
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	return n, err
}

func fields(row results.Row) []string {
	v := reflect.ValueOf(row)
	texts := make([]string, v.NumField())
	for i := range texts {
		f := v.Field(i)
		if f.IsZero() && strings.Contains(v.Type().Field(i).Tag.Get("parquet"), ",optional") {
			continue // what Parquet holds as null
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.CanFloat() {
			texts[i] = strconv.FormatFloat(f.Float(), 'g', -1, f.Type().Bits())
		} else {
			texts[i] = fmt.Sprint(f.Interface())
		}
	}
	return texts
}
