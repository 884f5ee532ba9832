"""The settings that make a CPU fast change nothing but its speed."""

import pytest
import torch

from ssl_cli.models.cpu import for_large_products, multiplies_exactly


@pytest.mark.parametrize(("rows", "inner", "columns"), [(64, 256, 1024), (256, 1024, 64), (33, 771, 65)])
def test_its_products_are_as_exact_as_before(rows: int, inner: int, columns: int) -> None:
    x, weight = torch.rand(rows, inner), torch.rand(columns, inner)
    exact = x.double() @ weight.double().T
    with for_large_products():
        found = x @ weight.T
        slope = x.T @ found
    assert torch.allclose(found.double(), exact, rtol=5e-6, atol=0)  # rounding to bfloat16 would be 1,000 times worse
    assert torch.allclose(slope.double(), x.double().T @ exact, rtol=1e-5, atol=0)


def test_the_settings_end_with_it() -> None:
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError), for_large_products():
        assert (torch.get_float32_matmul_precision() == "medium") is (multiplies_exactly() and before == "highest")
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before


def test_a_choice_of_the_users_stays() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with for_large_products():
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
