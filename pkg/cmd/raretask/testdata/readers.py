"""Reads what raretask wrote with pandas, DuckDB and safetensors alone, and prints what they see as one JSON object."""

import glob
import json
import sys

import duckdb
import pandas
import pyarrow.parquet
import safetensors.numpy

table, text, folder, state, published = sys.argv[1:]
by_pandas = pandas.read_parquet(table)
by_csv = pandas.read_csv(text, dtype={"run": str, "stack": str})
for column in by_csv.columns:  # an empty field of a text column is an empty text as well as a missing one
    if by_pandas[column].dtype.kind not in "biuf":
        by_pandas[column], by_csv[column] = by_pandas[column].fillna(""), by_csv[column].fillna("")
by_duckdb = duckdb.sql(f"select run, step, task, loss from '{table}' order by run, step, task").df()
all_files = duckdb.sql(f"select count(*), count(distinct run) from '{folder}/*.parquet'").fetchone()
same = by_pandas[["run", "step", "task", "loss"]].sort_values(["run", "step", "task"], ignore_index=True)
pandas.testing.assert_frame_equal(same, by_duckdb, check_dtype=False)
pandas.testing.assert_frame_equal(by_pandas, by_csv, check_dtype=False, rtol=1e-6)
for file in sorted(glob.glob(published + "/*.parquet"))[::60]:
    pandas.testing.assert_frame_equal(pandas.read_parquet(file), duckdb.sql(f"select * from '{file}'").df(), check_dtype=False)
docs = json.loads(pyarrow.parquet.read_schema(table).metadata[b"columns"])
arrays = safetensors.numpy.load_file(state)
print(json.dumps({
    "rows": len(by_pandas),
    "runs": by_pandas["run"].nunique(),
    "files_rows": all_files[0],
    "files_runs": all_files[1],
    "undocumented": [c for c in by_pandas.columns if not docs.get(c)],
    "first_train_loss_is_null": bool(by_pandas["train_loss"].isna().iloc[0]),
    "widths": sorted(int(w) for w in by_pandas["net.width"].unique()),
    "encoder": list(arrays["group0.encoder"].shape),
    "step": int(arrays["step"]),
}))
