"""Prepared data that is not what it should be is refused, with the reason."""

import json
import shutil

import pytest

from timetrial.error import DataError, UsageError
from timetrial_distillation.data.prepared import INDEX, PreparedData


@pytest.fixture
def folder(prepare_texts):
    return prepare_texts([f"Ann has {i} apples and pears." for i in range(60)]).folder


def change(path, at=-1):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_what_was_not_changed_passes(folder):
    PreparedData(folder).verify()


@pytest.mark.parametrize("name", ["tokens.bin", "mask.bin"])
def test_a_changed_bit_is_found_by_verifying(folder, name):
    change(folder / "shard-00001" / name)
    with pytest.raises(DataError, match=rf"shard-00001.{name}: is damaged: its content has changed"):
        PreparedData(folder).verify()


@pytest.mark.parametrize("name", ["tokens.bin", "mask.bin"])
def test_a_file_that_is_missing_or_cut_is_found_by_opening(folder, name):
    path = folder / "shard-00001" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"shard-00001.{name}: is damaged: it has [\d,]+ bytes, expected [\d,]+"):
        PreparedData(folder)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name}: is damaged: it is missing"):
        PreparedData(folder)


def test_offsets_of_another_shard_are_found_by_opening(folder):
    (folder / "shard-00001" / "offsets.npy").write_bytes(b"junk")
    with pytest.raises(DataError, match="offsets.npy: is damaged: it cannot be read"):
        PreparedData(folder)
    shutil.copy(folder / "shard-00000" / "offsets.npy", folder / "shard-00001")
    shutil.copy(folder / f"shard-{len(list(folder.glob('shard-*'))) - 1:05d}" / "offsets.npy", folder / "shard-00000")
    with pytest.raises(DataError, match="offsets.npy: is damaged: it does not describe"):
        PreparedData(folder)


def test_an_index_that_was_edited_is_refused(folder):
    index = json.loads((folder / INDEX).read_text())
    index["shards"][0]["sha256"]["tokens.bin"] = "0" * 64
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(DataError, match="its digests contradict one another"):
        PreparedData(folder)
    (folder / INDEX).write_text(json.dumps(index | {"format": "timetrial-prepared/9"}))
    with pytest.raises(DataError, match="expected 'timetrial-prepared/1'"):
        PreparedData(folder)
    (folder / INDEX).write_text("{")
    with pytest.raises(DataError, match=r"index\.json: is damaged"):
        PreparedData(folder)


def test_folders_without_finished_data_say_so(folder, tmp_path):
    (folder / INDEX).unlink()
    with pytest.raises(DataError, match="not finished: run the command that prepares it again"):
        PreparedData(folder)
    with pytest.raises(DataError, match="no prepared data here"):
        PreparedData(tmp_path / "nowhere")


def test_another_tokenizer_is_refused_by_both_names(folder, encoder, make_encoder):
    data = PreparedData(folder)
    data.check_tokenizer(encoder.digest, "nutshell-llama")
    other = make_encoder()
    with pytest.raises(UsageError, match="made with the tokenizer 'nutshell-llama' .*, and 'my-model' has another one"):
        data.check_tokenizer(other.digest, "my-model")
