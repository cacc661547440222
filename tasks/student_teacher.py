"""Student-teacher: a network learns the output of a fixed one from inputs of a given rank
(arXiv 2605.08746, Fig. 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kpflow_cli.config.keys import Key
from kpflow_cli.errors import UserError
from kpflow_cli.models.base import RecurrentModel
from kpflow_cli.task import MOST_STEPS, Batch, share_solved


@dataclass
class StudentTeacher:
    """Inputs x = z Q^T, z standard normal of dimension ``input_rank``, Q orthonormal; the target is
    the teacher's one output.

    Teacher and student are one model configuration, without biases. What the case trains is the
    student's own, all else the teacher's.
    """

    case: Annotated[
        Literal["W", "Win", "both"],
        Key("what the student draws and trains, all else is the teacher's"),
    ]
    input_rank: Annotated[int, Key("rank r_x of the inputs, at most task.input_dim", at_least=1)]
    input_dim: Annotated[int, Key("input channels", at_least=1)]
    normalize_inputs: Annotated[
        bool, Key("divide inputs by sqrt(r_x), so that their power does not grow with the rank")
    ]
    time_steps: Annotated[int, Key("time steps of a trial", at_least=1, at_most=MOST_STEPS)]
    evaluation_trials: Annotated[int, Key("evaluation trials, fixed", at_least=1)]
    teacher_gain: Annotated[float, Key("factor g* on the teacher's recurrent weights", at_least=0)]
    input_gain: Annotated[
        float,
        Key(
            "factor on the student's input weights in the cases Win and both; by default "
            "model.gain",
            at_least=0,
        ),
    ]

    output_size = 1

    def __post_init__(self) -> None:
        if self.input_rank > self.input_dim:
            raise UserError(
                f"task.input_rank={self.input_rank}: impossible; at most "
                f"task.input_dim={self.input_dim}"
            )

    @property
    def input_size(self) -> int:
        """n_in."""
        return self.input_dim

    @torch.no_grad()
    def prepare(
        self, student: nn.Module, draw_teacher: Callable[..., nn.Module], generator: torch.Generator
    ) -> None:
        """Draw the teacher, Q and the evaluation inputs; give the student the teacher's weights and
        let it train those of the case.

        Raises UserError for a model whose recurrent and input weights are not known, or with
        planted fixed points.
        """
        if not isinstance(student, RecurrentModel):
            raise UserError(
                "task=student_teacher: needs a model with recurrent and input weights; valid: "
                "model=vanilla_rnn, rnn, gru"
            )
        if len(student.fixed_points):
            raise UserError(
                f"model.fixed_points={len(student.fixed_points)}: task=student_teacher has none, "
                "they would not stay fixed"
            )
        teacher = draw_teacher(gain=self.teacher_gain)
        assert isinstance(teacher, RecurrentModel)
        _drop_biases(teacher)
        own = {
            "W": (student.recurrent_weight,),
            "Win": (student.input_weight,),
            "both": (student.recurrent_weight, student.input_weight),
        }
        trained = own[self.case]
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(name in trained)
            if name not in trained:
                parameter.copy_(teacher.get_parameter(name))
            elif name == student.input_weight:
                parameter.mul_(self.input_gain)
        self._teacher = teacher.requires_grad_(False)
        square = torch.randn(
            self.input_dim, self.input_dim, dtype=torch.float64, generator=generator
        )
        # all of Q is drawn whatever the rank: ranks of one seed share their leading directions
        self._basis = torch.linalg.qr(square).Q[:, : self.input_rank]
        self._evaluation = self.training_batch(self.evaluation_trials, generator)

    @torch.no_grad()
    def training_batch(self, batch_size: int, generator: torch.Generator) -> Batch:
        """``batch_size`` fresh trials."""
        latent = torch.randn(
            batch_size, self.time_steps, self.input_rank, dtype=torch.float64, generator=generator
        )
        inputs = latent @ self._basis.T
        if self.normalize_inputs:
            inputs /= math.sqrt(self.input_rank)
        weight = self._teacher.readout.weight
        targets = self._teacher.training_outputs(inputs.to(weight.device, weight.dtype))
        return Batch(inputs, targets.to(inputs))

    def evaluation_batch(self) -> Batch:
        """The same ``evaluation_trials`` trials every time."""
        return self._evaluation

    def accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of trials whose squared error is below a tenth of the target's power."""
        return share_solved(outputs, targets)


def _drop_biases(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.zero_()
