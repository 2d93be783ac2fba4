from __future__ import annotations

from pipeline.generation.child import ROOT, environment


def test_the_generator_gets_no_token_and_no_key() -> None:
    seen = environment(
        {
            "PATH": "/bin",
            "HF_" + "TOKEN": "hf_secret",
            "PIPELINE_OWNER_KEY": "secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "CUDA_VISIBLE_DEVICES": "1",
            "LC_ALL": "C.UTF-8",
        }
    )
    assert not any("secret" in value for value in seen.values())
    assert (seen["PATH"], seen["CUDA_VISIBLE_DEVICES"], seen["LC_ALL"]) == ("/bin", "1", "C.UTF-8")
    assert seen["HF_HUB_OFFLINE"] == "1"


def test_it_finds_the_project_from_anywhere() -> None:
    assert environment({})["PYTHONPATH"] == str(ROOT)
    assert environment({"PYTHONPATH": "/mine"})["PYTHONPATH"] == f"{ROOT}:/mine"
    assert (ROOT / "pipeline" / "generation" / "__main__.py").exists()
