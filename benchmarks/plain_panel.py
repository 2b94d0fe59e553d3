"""Reference: a typical webhook with FastAPI, SQLAlchemy and one commit per report.

It reads the row, adds in Python and writes it back, so it loses traffic of parallel reports; only its speed matters here.
"""

import datetime
import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(f"sqlite:///{os.environ['PLAIN_PANEL_DB']}", connect_args={"timeout": 30})


@event.listens_for(engine, "connect")
def _as_durable_as_ours(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


class Base(DeclarativeBase):
    pass


class Usage(Base):
    __tablename__ = "usage"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_token: Mapped[str] = mapped_column(index=True)
    server: Mapped[str]
    port: Mapped[int]
    protocol: Mapped[str]
    day: Mapped[datetime.date] = mapped_column(index=True)
    uploaded: Mapped[int] = mapped_column(default=0)
    downloaded: Mapped[int] = mapped_column(default=0)


Base.metadata.create_all(engine)


class Report(BaseModel):
    user_token: str
    server: str
    port: int
    protocol: str
    bytes_uploaded: int = 0
    bytes_downloaded: int = 0


def session() -> Any:
    with Session(engine) as found:
        yield found


app = FastAPI()


@app.post("/api/xpert/traffic-webhook")
def webhook(report: Report, db: Annotated[Session, Depends(session)]) -> dict[str, str]:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    same = select(Usage).where(
        Usage.user_token == report.user_token,
        Usage.server == report.server,
        Usage.port == report.port,
        Usage.day == today,
    )
    row = db.scalars(same).first()
    if row is None:
        row = Usage(
            user_token=report.user_token, server=report.server, port=report.port, protocol=report.protocol,
            day=today, uploaded=0, downloaded=0,
        )  # fmt: skip
        db.add(row)
    row.uploaded += report.bytes_uploaded
    row.downloaded += report.bytes_downloaded
    db.commit()
    return {"status": "success", "message": "Traffic recorded successfully"}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}
